// Draws the figures in the colours of the page, and again when the reader changes between light and dark.
(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
  };

  function painted(value, style) {
    if (typeof value === "string") {
      return value.startsWith("var:") ? style.getPropertyValue("--" + value.slice(4)).trim() : value;
    }
    if (Array.isArray(value)) return value.map((v) => painted(v, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, style)]));
    }
    return value;
  }

  function draw() {
    const style = getComputedStyle(document.documentElement);
    const narrow = window.innerWidth < 640;
    for (const [id, figure] of Object.entries(figures)) {
      const layout = painted(figure.layout, style);
      layout.height = figure.height;
      if (narrow) layout.font.size = 11;
      Plotly.react(id, painted(figure.data, style), layout, config);
    }
    document.documentElement.dataset.drawn = "yes";
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
