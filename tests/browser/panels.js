// Draws each panel as Kibana does: Vega-Lite compiled, expressions interpreted (Kibana's pages allow no eval), SVG.
const warnings = [];
const logger = {
  level() { return this; },
  error(...said) { warnings.push(said.join(" ")); return this; },
  warn(...said) { warnings.push(said.join(" ")); return this; },
  info() { return this; },
  debug() { return this; },
};

async function draw(name, spec) {
  const frame = document.createElement("section");
  frame.id = name;
  document.body.append(frame);
  try {
    const compiled = vegaLite.compile(spec, { logger }).spec;
    const runtime = vega.parse(compiled, {}, { ast: true });
    const view = new vega.View(runtime, { expr: vega.expressionInterpreter, renderer: "svg", logger, container: frame });
    await view.runAsync();
  } catch (error) {
    frame.dataset.error = String(error);
  }
  frame.dataset.warnings = warnings.splice(0).join("; ");
}

(async () => {
  for (const [name, spec] of Object.entries(JSON.parse(document.getElementById("panels").textContent))) {
    await draw(name, spec);
  }
  document.body.dataset.done = "true";
})();
