from __future__ import annotations

import json
import stat

import pytest

from scaling.errors import InputError
from scaling.tables import BudgetTable


def test_a_table_survives_saving_and_loading(tmp_path, table):
    path = table.save(tmp_path / "table.json")
    loaded = BudgetTable.load(path)
    assert loaded == table
    assert loaded.to_json() == table.to_json()
    assert loaded.document == table.document == json.loads(path.read_text())
    assert BudgetTable.from_document(loaded.document) == table


def test_saving_writes_whole_or_not_at_all(tmp_path, table):
    path = tmp_path / "table.json"
    path.write_text("old")
    table.save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRUSR
    with pytest.raises(InputError, match="Cannot write"):
        table.save(tmp_path / "none" / "table.json")
    with pytest.raises(InputError, match="folder"):
        table.save(tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{}", "kind is None"),
        (b'{"kind": "scaling-fit"}', "kind is 'scaling-fit'"),
        (b"level,n\nhard,3\n", "not JSON"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not UTF-8"),
        (b'{"kind": "scaling-budget-table", "rows": [NaN]}', "NaN"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        BudgetTable.load(path)
    assert "other.json" in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file"):
        BudgetTable.load(tmp_path / "none.json")
    with pytest.raises(InputError, match="Cannot read"):
        BudgetTable.load(tmp_path)


def test_what_is_no_json_is_refused(table):
    document = table.document
    document["objective"]["certificate"]["value"] = float("nan")
    with pytest.raises(InputError, match="finite"):
        BudgetTable.from_document(document)
    document["objective"]["certificate"]["value"] = {1, 2}
    with pytest.raises(InputError, match="not JSON"):
        BudgetTable.from_document(document)


def test_the_document_is_a_copy(table):
    before = table.to_json()
    table.document["rows"].clear()
    assert len(table.document["rows"]) == 6
    assert table.to_json() == before


def test_lookup_takes_keywords_or_a_mapping(table):
    by_name = table.lookup(level="hard", difficulty=0.3)
    assert by_name.row_id == "hard-difficulty-1"
    assert table.lookup({"level": "hard"}, difficulty="0.3") == by_name
    assert table.lookup(level="none").row_id is None
    with pytest.raises(InputError, match="draw"):
        table.lookup(level="hard", difficulty=0.3, draw=3)


def test_a_table_that_does_not_hold_together_can_be_checked_and_nothing_else(table):
    document = table.document
    del document["rows"][0]["expected"]
    broken = BudgetTable.from_document(document)
    assert {finding.code for finding in broken.check().findings} == {"schema"}
    for use in (lambda: broken.lookup(level="hard"), broken.to_frame, broken._repr_html_):
        with pytest.raises(InputError, match="table check"):
            use()


def test_a_frame_has_one_line_a_row(table):
    frame = table.to_frame()
    assert frame["row_id"].tolist() == [row["row_id"] for row in table.document["rows"]]
    assert frame["level"].tolist() == ["hard"] * 3 + ["easy"] * 3
    assert frame["weight"].sum() == pytest.approx(1)
    row = table.document["rows"][2]
    line = frame.iloc[2]
    assert line["n_samples"] == row["action"]["n_samples"]
    assert line["tokens"] == row["expected"]["resources"]["tokens"]["mean"]
    assert [line["value_low"], line["value_high"]] == row["expected"]["value"]["interval"]


def test_a_feature_of_the_name_of_another_column_keeps_both(table):
    document = table.document
    document["key"]["features"][0]["name"] = "value"
    for row in document["rows"]:
        row["when"]["value"] = row["when"].pop("level")
    frame = BudgetTable.from_document(document).to_frame()
    assert frame["when_value"].tolist() == ["hard"] * 3 + ["easy"] * 3
    assert frame["value"].dtype == float


def test_in_a_notebook_text_of_the_user_is_escaped(table):
    document = table.document
    document["rows"][0]["row_id"] = "<script>alert(1)</script>"
    page = BudgetTable.from_document(document)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("<tr>") == 7
    assert repr(table) == f"BudgetTable({table.table_id})"


def test_a_row_and_a_rung_stand_on_lines_of_their_own(table):
    lines = table.to_json().splitlines()
    rungs = sum(len(row["ladder"]) for row in table.document["rows"])
    assert sum(line.startswith('    {"action"') for line in lines) == rungs
    assert table.to_json().endswith("}\n")
