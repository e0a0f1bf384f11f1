"use strict";
// The explorer: thresholds that a person moves, and what each way to choose a tier comes to there.
(() => {
  const {data, element, byId, say, clean, usd, percent, seconds, known, count} = langroute;
  const {explorer} = data;
  const steps = explorer ? explorer.steps : [];
  const MISSING = "It takes numpy and scipy to work out what other thresholds would come to: pip install 'langroute[report]', and write the page anew.";
  const INTRO = "What other thresholds would come to. Routing chooses a tier before there is a reply, a cascade after it, by the reply's score; a hybrid does both.";
  say("explorer-note", explorer ? INTRO : MISSING);
  if (explorer) for (const line of explorer.left_out) byId("explorer-left-out").append(element("li", line));
  if (!steps.length) return;
  say("explorer-assumption", explorer.assumption);

  const positions = steps.map((step) => ({start: step.start_at, accept: step.accept_at}));
  let chosen = 0;
  const at = (grid, {start, accept}) => {
    const line = grid[Math.min(start, grid.length - 1)];
    return line[Math.min(accept, line.length - 1)];
  };
  const FIGURES = ["cost_usd", "quality", "quality_low", "quality_high", "latency_s", "escalated", "top_first", "estimated", "estimated_quality"];
  const outlook = (way, place) => Object.fromEntries(FIGURES.map((name) => [name, at(way[name], place)]));
  // The table's columns, and what the chart marks.
  const current = () => {
    const step = steps[chosen];
    const ways = step.ways.map((way) => [way.name, outlook(way, positions[chosen])]);
    return {step, ways, columns: [["as it ran", step.ran], ...ways, [`${step.top} everywhere`, step.everywhere]]};
  };
  const share = (value) => percent(value) || "unknown";
  const quality = ({quality: mean, quality_low: low, quality_high: high}) =>
    (known(mean) ? `${percent(mean)} (${share(low)} to ${share(high)})` : "too little feedback");
  const saved = ({cost_usd}, {everywhere}) =>
    (known(cost_usd) && everywhere.cost_usd > 0 ? percent(1 - cost_usd / everywhere.cost_usd) : "unknown");
  const rows = [
    ["cost a request", (of) => usd(of.cost_usd)], ["saved", saved], ["quality", quality],
    ["latency", (of) => seconds(of.latency_s) || "unknown"], ["escalated", (of) => share(of.escalated)],
    ["starts at the top", (of) => share(of.top_first)], ["estimated", (of) => share(of.estimated)],
    ["quality estimated", (of) => share(of.estimated_quality)],
  ];

  const written = (threshold) => String(Number(threshold.toPrecision(4)));
  const show = () => {
    const {step, ways, columns} = current(), {start, accept} = positions[chosen];
    say("explore-start-at", written(step.starts[start]));
    const first = ways[0][1].top_first;
    byId("explore-start").setAttribute("aria-valuetext", `${written(step.starts[start])}: ${percent(first)} of requests start at ${clean(step.top)}`);
    if (step.score) {
      say("explore-accept-at", written(step.accepts[accept]));
      byId("explore-accept").setAttribute("aria-valuetext", `${written(step.accepts[accept])}: ${percent(ways[1][1].escalated)} escalate in a cascade`);
    }
    const [head, ...lines] = byId("explore-table").rows;
    columns.forEach(([name], i) => { head.cells[i + 1].textContent = clean(name); });
    rows.forEach(([, of], line) => columns.forEach(([, figures], i) => {
      lines[line].cells[i + 1].textContent = clean(of(figures, step));
    }));
    say("explore-said", ways.map(([name, of]) => `${name}: ${usd(of.cost_usd)}, quality ${quality(of)}.`).join(" "));
    document.dispatchEvent(new Event("explore"));
  };
  const choose = () => {
    chosen = Number(byId("explore-step").value);
    const step = steps[chosen];
    byId("explore-start").max = step.starts.length - 1;
    byId("explore-start").value = positions[chosen].start;
    say("explore-top", step.top);
    byId("explore-accept-part").hidden = !step.score;
    byId("explore-accept").max = Math.max(step.accepts.length - 1, 0);
    byId("explore-accept").value = positions[chosen].accept;
    say("explore-score", step.score);
    const rated = step.rated < data.least_labels ? `${count(step.rated)} rated, of ${data.least_labels} needed for a quality` : `${count(step.rated)} rated ones for the quality`;
    say("explore-of", `Of ${count(step.requests)} decisions, and ${rated}.` + (step.score ? "" : " No check of this step gives a score: a cascade keeps the verdicts as they were."));
    show();
  };

  const table = () => {
    const made = element("table");
    made.id = "explore-table";
    made.append(element("caption", "What the thresholds come to", "unseen"));
    const head = made.createTHead().insertRow();
    for (const name of ["", ...current().columns.map(([name]) => name)]) {
      const cell = element("th", name, "r");
      cell.scope = "col";
      head.append(cell);
    }
    const body = made.createTBody();
    for (const [name] of rows) {
      const line = body.insertRow(), cell = element("th", name);
      cell.scope = "row";
      line.append(cell, ...current().columns.map(() => element("td", "", "r")));
    }
    byId("explorer-figures").append(made);
  };

  steps.forEach((step, number) => {
    const option = element("option", step.step);
    option.value = number;
    byId("explore-step").append(option);
  });
  byId("explore-step").addEventListener("change", choose);
  for (const name of ["start", "accept"]) {
    byId(`explore-${name}`).addEventListener("input", ({currentTarget: slider}) => {
      positions[chosen][name] = Number(slider.value);
      show();
    });
  }
  if (steps.some((step) => known(step.ran.quality))) {
    const chart = element("div", undefined, "chart");
    chart.dataset.chart = "explorer";
    byId("explorer-chart").append(chart);
  }
  langroute.exploring = current;
  table();
  byId("explorer-controls").hidden = false;
  choose();
})();
