"use strict";
// The charts, by plotly.js, each drawn when it comes near the window. Names are data, so markup in them is escaped.
(() => {
  const {data, FIRST_STEPS, clean, usd, percent, count, estimated, ratesOf, iso, known} = langroute;
  const ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"};
  const letters = new Intl.Segmenter("en", {granularity: "grapheme"});
  const cut = (text, most) => {
    if (text.length <= most) return text;
    const shown = [...letters.segment(text.slice(0, 200))].map(({segment}) => segment);
    return shown.length > most ? shown.slice(0, most - 1).join("") + "\u2026" : shown.join("");
  };
  const label = (name, most = 28) => cut(clean(name), most).replace(/[&<>]/g, (c) => ENTITIES[c]) || " ";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const narrow = () => matchMedia("(max-width: 46rem)").matches;
  const config = {displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false};

  const layout = (more) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", dragmode: false,
    font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink")},
    margin: {l: 64, r: 16, t: 8, b: 48}, hoverlabel: {bgcolor: colour("card"), bordercolor: colour("line"), font: {color: colour("ink")}},
    legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: {color: colour("ink")}}, ...more,
  });
  const axis = (more) => ({
    fixedrange: true, exponentformat: "none", separatethousands: true, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)", gridcolor: colour("line"), zerolinecolor: colour("line"), linecolor: colour("line"), tickfont: {color: colour("muted")}, ...more,
  });

  // The column of each node: as many links from the start as the longest way to it has; ends stand in the last.
  const columnsOf = (nodes, links) => {
    const depth = Array(nodes).fill(0);
    for (let round = 0, moved = true; moved && round < MOST_COLUMNS; round += 1) {
      moved = false;
      for (const {source, target} of links) if (depth[target] <= depth[source] && source !== target) { depth[target] = depth[source] + 1; moved = true; }
    }
    const last = Math.min(Math.max(...depth), MOST_COLUMNS);
    return depth.map((column, i) => (links.some((l) => l.source === i) ? Math.min(column, last) : last));
  };
  const COLUMN = 140, MOST_COLUMNS = 24;
  // A name cut so that it fits into so many pixels.
  const pen = document.createElement("canvas").getContext("2d");
  const fitting = (name, room) => {
    pen.font = `13px ${getComputedStyle(document.body).fontFamily}`;
    let most = 28;
    while (most > 4 && pen.measureText(cut(clean(name), most)).width > room) most -= 1;
    return label(name, most);
  };

  // Each gives traces, layout, and what a person who cannot see the chart is told.
  const charts = {
    spend() {
      const line = data.timeline, ends = [...line.starts_s, line.starts_s.at(-1) + line.slice_s];
      const x = ends.map(iso), recent = iso(data.recent_s);
      const closed = (values) => [...values, values.at(-1)];
      const trace = (name, values, tone, more) => ({
        type: "scatter", mode: "lines", name, x, y: closed(values), line: {shape: "hv", width: 2, color: colour(tone)},
        hovertemplate: "%{y:$,.4~f}", ...more,
      });
      const tier = data.top ? data.top.tier : "top";
      return {
        traces: [
          trace(`${label(tier)} everywhere`, line.top_usd, "base", {line: {shape: "hv", width: 2, dash: "dot", color: colour("base")}}),
          trace("paid", line.cost_usd, "accent", {fill: "tozeroy", fillcolor: colour("wash")}),
        ],
        layout: layout({
          hovermode: "x unified", xaxis: axis({type: "date"}), yaxis: axis({tickprefix: "$", rangemode: "tozero", automargin: true}),
          shapes: [{type: "line", xref: "x", yref: "paper", x0: recent, x1: recent, y0: 0, y1: 1, line: {color: colour("muted"), width: 1, dash: "dash"}}],
          annotations: [{x: recent, y: 1, xref: "x", yref: "paper", text: "last quarter", showarrow: false, xanchor: "left", yanchor: "top", xshift: 4, font: {color: colour("muted"), size: 12}}],
        }),
        said: `Spend over time. ${data.headline} ${data.lately}`,
      };
    },

    payoff() {
      const {periods, period_s} = data.payoff, rows = periods.filter((r) => r.share), value = (r) => r.share.value;
      const reach = (r, end) => (known(r.share[end]) ? Math.abs(r.share[end] - value(r)) : null);
      return {
        traces: [{
          type: "scatter", mode: "lines+markers", x: rows.map((r) => iso(r.start_s + period_s / 2)), y: rows.map(value), line: {color: colour("accent"), width: 1}, marker: {size: 8, color: colour("accent")},
          error_y: {type: "data", symmetric: false, array: rows.map((r) => reach(r, "high")), arrayminus: rows.map((r) => reach(r, "low")), color: colour("accent"), thickness: 2, width: 4},
          customdata: rows.map((r) => estimated(r.saved_usd, usd)), hovertemplate: "%{y:.0%} saved, %{customdata}<extra></extra>",
        }],
        layout: layout({hovermode: "closest", xaxis: axis({type: "date"}), yaxis: axis({tickformat: ".0%", rangemode: "tozero", zerolinecolor: colour("muted")})}),
        said: `The part of the top tier's cost that was saved, over time. ${data.lately}`,
      };
    },

    steps() {
      const rows = [...data.steps].slice(0, FIRST_STEPS).reverse(), y = rows.map((r) => fitting(r.step, narrow() ? 100 : 150));
      const kinds = [["returned replies", "accepted_usd", "accent"], ["rejected drafts", "drafts_usd", "warn"], ["failed calls", "failed_usd", "bad"], ["checks", "checks_usd", "third"], ["classifiers", "classifiers_usd", "base"], ["shadows", "shadows_usd", "muted"]];
      const traces = kinds.filter(([, key]) => rows.some((r) => r.totals[key] > 0)).map(([name, key, tone]) => ({
        type: "bar", orientation: "h", name, y: rows.map((_, i) => i), x: rows.map((r) => r.totals[key]), marker: {color: colour(tone)}, hovertemplate: "%{x:$,.4~f}",
      }));
      traces.push({
        type: "scatter", mode: "markers", name: "top tier everywhere", y: rows.map((_, i) => i), x: rows.map((r) => (r.saving ? r.saving.baseline_usd : null)),
        cliponaxis: false, marker: {symbol: "diamond", size: 11, color: colour("card"), line: {color: colour("ink"), width: 2}}, hovertemplate: "%{x:$,.4~f}",
      });
      return {
        height: 130 + rows.length * 40 + (narrow() ? traces.length * 20 : 0), traces,
        layout: layout({barmode: "stack", bargap: 0.35, legend: {orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal", font: {color: colour("ink")}}, margin: {l: narrow() ? 116 : 170, r: 16, t: 8, b: 40}, hovermode: "closest",
          xaxis: axis({tickprefix: "$", rangemode: "tozero", nticks: narrow() ? 3 : 10, tickangle: 0}), yaxis: axis({tickvals: rows.map((_, i) => i), ticktext: y, showgrid: false, tickfont: {color: colour("ink")}})}),
        said: "Cost by step. " + data.steps.slice(0, 6).map((r) => `${r.step}: paid ${usd(r.totals.cost_usd)}, top tier everywhere ${r.saving ? usd(r.saving.baseline_usd) : "unknown"}.`).join(" "),
      };
    },

    flow(place) {
      const {nodes, links} = data.flow;
      const tone = {step: "base", tier: "accent", rejected: "warn", failed: "bad", returned: "accent", none: "bad"};
      const sum = (which) => nodes.map((_, i) => links.filter((l) => l[which] === i).reduce((n, l) => n + l.count, 0));
      const into = sum("target"), through = sum("source").map((n, i) => Math.max(n, into[i]));
      const columns = columnsOf(nodes.length, links), last = Math.max(...columns);
      // Where columns are wide, labels of the ends stand to their left; else to their right, in a column of their own.
      const wide = (place.parentElement.clientWidth - 30) / last > 2 * COLUMN, gaps = wide ? last : last + 1, width = 30 + gaps * COLUMN;
      const fullest = Math.max(...columns.map((one) => columns.filter((other) => other === one).length));
      const room = (Math.max(place.parentElement.clientWidth, width) - 30) / gaps - 24;
      const told = nodes.map(([kind, name], i) => {
        const became = kind === "rejected" || kind === "failed";
        return `${fitting(became ? name.slice(0, -kind.length - 2) : name, room)}<br>${became ? `${kind} ` : ""}${count(through[i])}`;
      });
      const faint = (name) => colour(name) + "55";
      // Unseen links put every end into one column, and a node beyond it: only in the last would a label stand to the left.
      const ends = nodes.flatMap((_, i) => (links.some((l) => l.source === i) ? [] : [i])), beyond = nodes.length, clear = "rgba(0,0,0,0)";
      const unseen = [...ends.map((i) => [columns.indexOf(last - 1), i]), ...ends.map((i) => [i, beyond])].filter(([from]) => from >= 0 && !wide);
      return {
        height: Math.max(260, 100 + fullest * 44 + Math.min(fullest, 5) * 22), width,
        traces: [{
          type: "sankey", arrangement: "fixed",
          node: {label: [...told, ""], color: [...nodes.map(([kind]) => colour(tone[kind])), clear], pad: 34, thickness: 14, line: {width: 0}, customdata: [...nodes.map(([, name], i) => `${label(name, 80)}<br>${count(through[i])} decisions`), ""], hovertemplate: "%{customdata}<extra></extra>"},
          link: {
            source: [...links.map((l) => l.source), ...unseen.map(([from]) => from)], target: [...links.map((l) => l.target), ...unseen.map(([, to]) => to)],
            value: [...links.map((l) => l.count), ...unseen.map(() => 1e-6)],
            color: [...links.map((l) => faint(tone[nodes[l.target][0]])), ...unseen.map(() => clear)], hovertemplate: "%{value:,} decisions<extra></extra>",
          },
          textfont: {color: colour("ink"), size: 13},
        }],
        layout: layout({margin: {l: 8, r: 8, t: 20, b: 20}}),
        said: "The way of the requests. " + [...links].sort((a, b) => b.count - a.count).slice(0, 12).map((l) => `${nodes[l.source][1]} to ${nodes[l.target][1]}: ${count(l.count)}.`).join(" "),
      };
    },

    rates() {
      const rows = ratesOf(data.totals).filter(([, rate]) => rate && known(rate.rate)).reverse();
      return {
        height: 70 + rows.length * 44,
        traces: [{
          type: "scatter", mode: "markers+text", x: rows.map(([, r]) => r.rate), y: rows.map(([name]) => name), text: rows.map(([, r]) => percent(r.rate)), textposition: "top center", cliponaxis: false, textfont: {color: colour("ink")},
          error_x: {type: "data", symmetric: false, array: rows.map(([, r]) => r.high - r.rate), arrayminus: rows.map(([, r]) => r.rate - r.low), color: colour("accent"), thickness: 3, width: 6},
          marker: {size: 11, color: colour("accent")}, hovertemplate: "%{x:.2%}<extra></extra>",
        }],
        layout: layout({margin: {l: 150, r: 24, t: 8, b: 36}, xaxis: axis({tickformat: ".0%", rangemode: "tozero"}), yaxis: axis({type: "category", range: [-0.5, rows.length - 0.3], showgrid: false, tickfont: {color: colour("ink")}})}),
        said: "Rates with 95 % intervals. " + rows.map(([name, r]) => `${name}: ${percent(r.rate)}, ${percent(r.low)} to ${percent(r.high)}.`).join(" "),
      };
    },

    policies() {
      const judged = data.policies.every((r) => r.right), quality = (r) => (judged ? r.right : r.accepted);
      const rows = data.policies.filter((r) => known(r.cost_per_request_usd)).sort((a, b) => b.decisions - a.decisions).slice(0, 30);
      const most = Math.max(...rows.map((r) => r.decisions)), dearest = Math.max(...rows.map((r) => r.cost_per_request_usd));
      const low = Math.max(0, Math.min(0.98, ...rows.map((r) => quality(r).low)) - 0.01);
      const high = Math.max(...rows.map((r) => quality(r).high)) + (1 - low) * 0.15;
      return {
        traces: [{
          type: "scatter", mode: "markers+text", x: rows.map((r) => r.cost_per_request_usd), y: rows.map((r) => quality(r).rate),
          text: rows.map((r) => `  ${label(r.policy.slice(0, 8))}  `), textposition: rows.map((r) => (r.cost_per_request_usd > dearest * 0.7 ? "middle left" : "middle right")), cliponaxis: false, textfont: {color: colour("ink")},
          error_y: {type: "data", symmetric: false, array: rows.map((r) => quality(r).high - quality(r).rate), arrayminus: rows.map((r) => quality(r).rate - quality(r).low), color: colour("base"), thickness: 2, width: 5},
          marker: {color: colour("accent"), size: rows.map((r) => 10 + 14 * Math.sqrt(r.decisions / most))}, hovertemplate: "%{x:$,.5~f} a request, %{y:.1%}<extra></extra>",
        }],
        layout: layout({margin: {l: 64, r: 24, t: 24, b: 48}, xaxis: axis({tickprefix: "$", rangemode: "tozero", nticks: narrow() ? 4 : 8, title: {text: "cost a request", font: {color: colour("muted")}}}), yaxis: axis({tickformat: high - low < 0.08 ? ".1%" : ".0%", range: [low, high], title: {text: judged ? "right" : "accepted", font: {color: colour("muted")}}})}),
        said: "Cost against quality. " + rows.map((r) => `Policy ${r.policy.slice(0, 8)}: ${usd(r.cost_per_request_usd)} a request, ${percent(quality(r).rate)} ${judged ? "right" : "accepted"}.`).join(" "),
      };
    },
  };
  // Of all pairs of thresholds those that no other beats in both, cheapest first; a line alone has one of the two.
  const points = (way, frontier) => {
    const all = way.cost_usd.flatMap((line, s) => line.map((cost, a) => {
      const worths = way.quality[Math.min(s, way.quality.length - 1)];
      return [cost, worths[Math.min(a, worths.length - 1)]];
    })).filter(([cost, worth]) => known(cost) && known(worth));
    if (!frontier) return all;
    let best = -1;
    return all.sort((one, other) => one[0] - other[0] || other[1] - one[1]).filter(([, worth]) => worth > best && (best = worth, true));
  };
  if (langroute.exploring) charts.explorer = () => {
    const {step, ways, columns} = langroute.exploring();
    const tones = {routing: "accent", cascade: "third", hybrid: "warn"}, dashes = {routing: "solid", cascade: "dash", hybrid: "dot"};
    const lines = step.ways.map((way) => {
      const line = points(way, way.name === "hybrid");
      return {
        type: "scatter", mode: "lines", name: way.name, x: line.map(([cost]) => cost), y: line.map(([, worth]) => worth), legendgroup: way.name,
        line: {color: colour(tones[way.name]), width: 2, dash: dashes[way.name]}, hovertemplate: "%{x:$,.5~f} a request, %{y:.1%}",
      };
    });
    const shown = columns.filter(([, of]) => known(of.cost_usd) && known(of.quality));
    const signs = {routing: "circle", cascade: "circle", hybrid: "circle", "as it ran": "diamond"};
    const marks = shown.map(([name, of]) => ({
      type: "scatter", mode: "markers", name: label(name), x: [of.cost_usd], y: [of.quality], showlegend: !tones[name], legendgroup: name,
      error_y: {type: "data", symmetric: false, array: [Math.max(of.quality_high - of.quality, 0)], arrayminus: [Math.max(of.quality - of.quality_low, 0)], color: colour(tones[name] ?? "base"), thickness: 1.5, width: 4, visible: known(of.quality_low)},
      marker: {size: 13, symbol: signs[name] ?? "square", color: colour(tones[name] ?? "card"), line: {color: colour("ink"), width: 2}}, hovertemplate: "%{x:$,.5~f} a request, %{y:.1%}",
    }));
    return {
      traces: [...lines, ...marks],
      layout: layout({margin: {l: 64, r: 24, t: 24, b: 48}, hovermode: "closest", xaxis: axis({tickprefix: "$", rangemode: "tozero", nticks: narrow() ? 4 : 8, title: {text: "cost a request", font: {color: colour("muted")}}}), yaxis: axis({tickformat: ".0%", title: {text: "quality", font: {color: colour("muted")}}})}),
      said: `Cost against quality of ${step.step} at these thresholds. ` + (shown.length ? shown.map(([name, of]) => `${name}: ${usd(of.cost_usd)} a request, quality ${percent(of.quality)}.`).join(" ") : "There is too little feedback for a quality."),
    };
  };
  data.drift.forEach((row, number) => {
    charts[`drift-${number}`] = () => {
      const bar = (name, shares, tone) => ({type: "bar", name, x: row.bins.map((_, i) => i), y: shares, marker: {color: colour(tone)}, customdata: row.bins.map((bin) => label(bin)), hovertemplate: "%{customdata}: %{y:.1%}"});
      const every = row.bins.length > 5 ? Math.ceil(row.bins.length / 3) : 1;
      return {
        traces: [bar("before", row.reference_shares, "base"), bar("recent", row.recent_shares, "accent")],
        layout: layout({bargap: 0.25, margin: {l: 54, r: 8, t: 8, b: 40}, yaxis: axis({tickformat: ".0%", rangemode: "tozero", nticks: 5}), xaxis: axis({tickvals: row.bins.map((_, i) => i).filter((i) => i % every === 0), ticktext: row.bins.filter((_, i) => i % every === 0).map((bin) => label(bin, 18)), showgrid: false, tickangle: 0})}),
        said: `Drift of ${row.measure}: ${row.verdict}.`,
      };
    };
  });

  const draw = (place) => {
    const {traces, layout: laid, said, height, width} = charts[place.dataset.chart](place);
    if (height) place.style.height = `${height}px`;
    if (width) place.style.minWidth = `${width}px`;
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", clean(said));
    place.dataset.drawn = "yes";
    return Plotly.react(place, traces, laid, config);
  };
  const places = [...document.querySelectorAll("[data-chart]")];
  const watcher = new IntersectionObserver((seen) => {
    for (const {isIntersecting, target} of seen) if (isIntersecting) { watcher.unobserve(target); draw(target); }
  }, {rootMargin: "400px"});
  for (const place of places) watcher.observe(place);
  const again = () => { for (const place of places) if (place.dataset.drawn) draw(place); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  matchMedia("(max-width: 46rem)").addEventListener("change", again);
  document.addEventListener("themechange", again);
  document.addEventListener("explore", () => { for (const place of places) if (place.dataset.chart === "explorer" && place.dataset.drawn) draw(place); });
  addEventListener("beforeprint", () => { for (const place of places) if (!place.dataset.drawn) draw(place); });
  langroute.drawAll = () => Promise.all(places.map(draw));
  langroute.charted_ms = performance.now();
})();
