for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const spec = JSON.parse(document.getElementById(figure.dataset.chart).textContent);
  const place = figure.querySelector("div");
  vegaEmbed(place, spec, { actions: false, renderer: "svg" });
}
