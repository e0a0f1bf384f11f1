"use strict";
// The figures as words and tables. Text reaches the page by textContent alone.
window.langroute = (() => {
  const data = JSON.parse(document.getElementById("figures").textContent);
  // What a reader could not see, or what would turn the direction of what follows.
  // Joiners stay where scripts and pictures need them: after what is not Latin.
  const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]|(?<=^|[\u0000-\u02ff\u200c\u200d])[\u200c\u200d]|\udb40[\udc00-\udc7f]/g;
  const LONGEST = 2000;

  const clean = (value) => {
    const text = String(value ?? "").replace(UNSEEN, "\ufffd");
    return text.length > LONGEST ? text.slice(0, LONGEST) + " \u2026" : text;
  };
  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = clean(text);
    if (className) made.className = className;
    return made;
  };
  const byId = (id) => document.getElementById(id);
  const say = (id, text) => { byId(id).textContent = clean(text); };

  // Numbers ------------------------------------------------------------------------------------------------
  const grouped = new Intl.NumberFormat("en-US");
  // Ties go to the even digit, as on the command line.
  const even = (how) => new Intl.NumberFormat("en-US", {roundingMode: "halfEven", ...how});
  const cents = even({style: "currency", currency: "USD"});
  const fine = even({style: "currency", currency: "USD", minimumSignificantDigits: 3, maximumSignificantDigits: 3});
  const whole = even({maximumFractionDigits: 0});
  const known = (value) => value !== null && value !== undefined;
  const count = (value) => (known(value) ? grouped.format(value) : "");
  const usd = (value) => {
    if (!known(value)) return "unknown";
    return (Math.abs(value) >= 1 || value === 0 ? cents : fine).format(value || 0);
  };
  const digits = [0, 1].map((n) => even({minimumFractionDigits: n, maximumFractionDigits: n, useGrouping: false}));
  const percent = (share) => {
    if (!known(share)) return "";
    const all = share > 0.9905 && share < 1;
    const written = digits[Math.abs(share) < 0.0995 || all ? 1 : 0].format(share * 100);
    if (all && written === "100.0") return "> 99.9%";
    return (written === "-0.0" ? "0.0" : written) + "%";
  };
  const seconds = (value) => {
    if (!known(value)) return "";
    if (value < 1) return digits[0].format(value * 1000) + " ms";
    return (value < 100 ? digits[1] : whole).format(value) + " s";
  };
  const tooFew = (labels) => (labels ? `too few labels (${grouped.format(labels)} of ${data.least_labels})` : "no labels yet");
  const estimated = (found, written) => {
    if (!found) return "unknown";
    return written(found.value) + (known(found.low) ? ` (${written(found.low)} to ${written(found.high)})` : "");
  };
  const interval = (rate) => `${percent(rate.low)} to ${percent(rate.high)}`;
  const rated = (rate, none) => {
    if (!rate) return none;
    return known(rate.rate) ? `${percent(rate.rate)} (${interval(rate)})` : "none counted";
  };
  const beyondChance = (kappa) => (kappa ? `${kappa.value.toFixed(2)} (${kappa.low.toFixed(2)} to ${kappa.high.toFixed(2)})` : "\u2013");
  const LATEST_S = 253402300799; // the year 9999
  const iso = (at_s) => new Date(Math.min(Math.max(at_s, 0), LATEST_S) * 1000).toISOString().slice(0, 19);
  const moment = (at_s, slice_s = 60) => iso(at_s).slice(0, slice_s < 60 ? 19 : 16).replace("T", " ");
  const saved = (saving) => (saving && saving.baseline_usd > 0 ? 1 - saving.cost_usd / saving.baseline_usd : null);
  const chance = (p) => (known(p) ? (p < 0.001 ? "< 0.001" : p.toFixed(3)) : "too little to say");

  // Tables -------------------------------------------------------------------------------------------------
  const FIRST_ROWS = 20, FIRST_STEPS = 15;
  // A column is [heading, row => text] and "n" where it holds numbers.
  const table = (name, caption, columns, rows, none) => {
    const place = document.querySelector(`[data-table="${name}"]`);
    if (!rows.length) { place.append(element("p", none ?? "Nothing to show.", "small")); return; }
    const made = element("table");
    made.append(element("caption", caption, "unseen"));
    const head = made.createTHead().insertRow();
    for (const [heading, , kind] of columns) {
      const cell = element("th", heading, kind);
      cell.scope = "col";
      head.append(cell);
    }
    const body = made.createTBody();
    const show = (some) => {
      for (const row of some) {
        const line = body.insertRow();
        columns.forEach(([, of, kind], number) => {
          const cell = element(number ? "td" : "th", of(row), kind);
          if (!number) cell.scope = "row";
          line.append(cell);
        });
      }
    };
    show(rows.slice(0, FIRST_ROWS));
    place.tabIndex = 0;
    place.setAttribute("role", "region");
    place.setAttribute("aria-label", caption);
    place.append(made);
    if (rows.length <= FIRST_ROWS) return;
    const more = element("button", `Show all ${count(rows.length)} rows`, "more");
    more.type = "button";
    more.addEventListener("click", () => { more.remove(); show(rows.slice(FIRST_ROWS)); });
    place.append(more);
  };

  const lead = () => {
    const {totals, payoff} = data, sure = payoff.recent_usd && known(payoff.recent_usd.low), usual = sure ? payoff.recent_usd : payoff.whole_usd;
    say("headline", data.headline);
    say("lately", data.lately);
    say("assumption", data.assumption);
    say("period", `${count(totals.decisions)} decision${totals.decisions === 1 ? "" : "s"}, ${moment(data.since_s)} to ${moment(data.until_s)} UTC` +
      (data.ledger ? ` \u00b7 ${data.ledger}` : ""));
    const keys = [
      ["Spent", usd(totals.cost_usd), totals.unknown ? `${count(totals.unknown)} decisions of unknown cost` : "everything on the bill"],
      [`Saved ${/^[a-z]/.test(payoff.per) ? "a" : "per"} ${payoff.per}`, usual ? usd(usual.value) : "unknown",
        !usual ? "no known price" : known(usual.low) ? `${usd(usual.low)} to ${usd(usual.high)}${sure ? ", lately" : ""}` : "too few threads for an interval"],
      ["Escalated", percent(totals.escalated.rate), interval(totals.escalated)],
      ["Calls that failed", percent(totals.failed_calls.rate), interval(totals.failed_calls)],
      ["Cheap model wrong", totals.misrouted ? percent(totals.misrouted.rate) : "unknown",
        totals.misrouted ? `${interval(totals.misrouted)}, of ${count(totals.cheap_labels)} labels` : tooFew(totals.cheap_labels)],
      ["Accepted", percent(totals.accepted.rate), interval(totals.accepted)],
    ];
    for (const [name, value, note] of keys) {
      const card = element("div");
      card.append(element("dt", name), element("dd", value, value.length > 9 ? "value long" : "value"), element("dd", note, "small"));
      byId("key").append(card);
    }
  };

  const spending = () => {
    const line = data.timeline;
    const rows = line.starts_s.map((at_s, i) => ({at_s, n: line.decisions[i], cost: line.cost_usd[i], top: line.top_usd[i], escalated: line.escalated[i], failed: line.failed_calls[i]}));
    table("spend", "Spend over time", [
      ["from (UTC)", (r) => moment(r.at_s, line.slice_s)], ["decisions", (r) => count(r.n), "n"], ["paid", (r) => usd(r.cost), "n"],
      ["top tier everywhere", (r) => usd(r.top), "n"], ["escalated", (r) => count(r.escalated), "n"], ["failed calls", (r) => count(r.failed), "n"],
    ], rows.filter((r) => r.n));
    const {period, periods, least_groups} = data.payoff;
    const short = periods.filter((r) => r.share).length < 3;
    say("payoff-note", short ? "There is too little to show it over time."
      : `The part of the top tier's cost that was saved, by ${period}, with its 95\u00a0% interval where there are ${least_groups} threads for one.`);
    if (short) document.querySelector('[data-chart="payoff"]').remove();
    table("payoff", "What was saved over time, with 95 % intervals", [
      ["from (UTC)", (r) => moment(r.start_s, data.payoff.period_s)], ["decisions compared", (r) => count(r.requests), "n"],
      ["saved", (r) => estimated(r.saved_usd, usd), "n"], ["of the top tier's cost", (r) => estimated(r.share, percent), "n"],
    ], periods, "No decision has both a known cost and a known price of the top tier.");
    table("savings", "Any one tier everywhere", [
      ["tier everywhere", (r) => r.tier], ["would have cost", (r) => usd(r.baseline_usd), "n"], ["was paid", (r) => usd(r.cost_usd), "n"],
      ["saved", (r) => percent(saved(r)) || "unknown", "n"], ["decisions compared", (r) => count(r.compared), "n"], ["left out", (r) => count(r.left_out), "n"],
    ], data.savings, "No decision has both a known cost and known prices.");
    table("paid", "What was paid for, by step", [
      ["step", (r) => r.step], ["returned replies", (r) => usd(r.totals.accepted_usd), "n"], ["rejected drafts", (r) => usd(r.totals.drafts_usd), "n"],
      ["failed calls", (r) => usd(r.totals.failed_usd), "n"], ["checks", (r) => usd(r.totals.checks_usd), "n"], ["classifiers", (r) => usd(r.totals.classifiers_usd), "n"],
      ["shadows", (r) => usd(r.totals.shadows_usd), "n"],
      ["all", (r) => usd(r.totals.cost_usd), "n"], ["top tier everywhere", (r) => (r.saving ? usd(r.saving.baseline_usd) : "unknown"), "n"],
      ["saved", (r) => percent(saved(r.saving)) || "unknown", "n"], ["cost unknown", (r) => count(r.totals.unknown), "n"],
    ], data.steps);
  };

  const worksheet = () => {
    if (data.steps.length > FIRST_STEPS) say("steps-note", `The ${FIRST_STEPS} dearest of ${count(data.steps.length)} steps.`);
    table("worksheet", "Routing worksheet", [
      ["step", (r) => r.step], ["traffic", (r) => percent(r.share), "n"], ["quality threshold", (r) => r.threshold || "\u2013", "t"],
      ["primary model", (r) => r.primary, "t"], ["fallback", (r) => r.fallback || "\u2013", "t"], ["escalates to", (r) => r.escalates_to || "\u2013", "t"],
      ["tokens in", (r) => (known(r.input_tokens) ? count(Math.round(r.input_tokens)) : "unknown"), "n"],
      ["tokens out", (r) => (known(r.output_tokens) ? count(Math.round(r.output_tokens)) : "unknown"), "n"],
      ["verifiers", (r) => r.verifiers.join(", ") || "\u2013", "t"], ["pass rate", (r) => rated(r.passed), "r"],
      ["p50", (r) => seconds(r.latency_p50_s), "n"], ["p95", (r) => seconds(r.latency_p95_s), "n"],
      ["cost a request", (r) => usd(r.cost_per_request_usd), "n"], ["last review", (r) => r.reviewed || "\u2013", "n"],
    ], data.steps);
    say("worksheet-note", "Tokens are means of a call; the pass rate is the share of first replies that every check accepted; latency is a decision's, checks included. "
      + (data.steps.some((r) => r.threshold || r.reviewed) ? "" : "Quality thresholds and reviews stand in the policy: give it with --policy."));
  };

  const ratesOf = (totals) => [
    ["escalated", totals.escalated], ["fell back", totals.fell_back], ["repaired", totals.repaired],
    ["calls that failed", totals.failed_calls], ["cheap model wrong", totals.misrouted, tooFew(totals.cheap_labels)],
  ];
  const rates = () => {
    const rows = [{step: "all", totals: data.totals}, ...data.steps];
    table("rates", "Rates by step, with 95 % intervals", [
      ["step", (r) => r.step], ["decisions", (r) => count(r.totals.decisions), "n"],
      ...ratesOf(data.totals).map(([name], i) => [name, (r) => rated(...ratesOf(r.totals)[i].slice(1)), "n"]),
    ], rows);
    table("arms", "The policy beside its canary, with 95 % intervals", [
      ["arm", (r) => r.arm], ["policy", (r) => r.policies.slice(0, 3).join(", "), "t"], ["decisions", (r) => count(r.decisions), "n"],
      ["cost a request", (r) => usd(r.cost_per_request_usd) + (known(r.cost_low_usd) ? ` (${usd(r.cost_low_usd)} to ${usd(r.cost_high_usd)})` : ""), "n"],
      ["accepted", (r) => rated(r.accepted), "n"], ["escalated", (r) => rated(r.escalated), "n"],
      ["p50", (r) => seconds(r.latency_p50_s), "n"], ["p95", (r) => seconds(r.latency_p95_s), "n"], ["right", (r) => rated(r.right, tooFew(r.labels)), "n"],
    ], data.arms);
    byId("canary").hidden = !data.arms.length;
    table("shadows", "Shadows by step, with 95 % intervals", [
      ["step", (r) => r.step], ["compared", (r) => count(r.misrouted.of), "n"], ["cheap wrong, top tier right", (r) => rated(r.misrouted), "n"],
      ["both wrong", (r) => count(r.neither), "n"], ["judge unsure", (r) => count(r.unsure), "n"],
      ["not compared", (r) => r.lost.map(([how, n]) => `${how} ${count(n)}`).join(", ") || "\u2013", "t"], ["paid", (r) => usd(r.cost_usd), "n"],
    ], data.shadows, "No step is shadowed: write shadow in the policy to measure how often a cheap reply is wrong.");
    table("endpoints", "Endpoints", [
      ["endpoint", (r) => r.endpoint], ["models that answered", (r) => r.models.join(", ") || "\u2013", "t"],
      ["calls", (r) => count(r.calls), "n"], ["asked by checks", (r) => count(r.asked), "n"], ["failed", (r) => rated(r.failed), "n"],
      ["how", (r) => r.kinds.map(([kind, n]) => `${kind} ${count(n)}`).join(", ") || "\u2013", "t"],
      ["p50", (r) => seconds(r.latency_p50_s), "n"], ["p95", (r) => seconds(r.latency_p95_s), "n"], ["paid", (r) => usd(r.cost_usd), "n"],
    ], data.endpoints, "No call was made.");
    table("verifiers", "Verifiers", [
      ["verifier", (r) => r.verifier], ["verdicts", (r) => count(r.rejected.of), "n"], ["rejected", (r) => rated(r.rejected), "n"],
      ["could not check", (r) => count(r.unsure), "n"],
      ["accepted, but wrong", (r) => (r.agreement ? rated(r.agreement.false_accept) : tooFew(r.labels)), "n"],
      ["rejected, but right", (r) => (r.agreement ? rated(r.agreement.false_reject) : tooFew(r.labels)), "n"],
      ["agrees with people", (r) => (r.agreement ? rated(r.agreement.agreed) : tooFew(r.labels)), "n"],
      ["kappa", (r) => beyondChance(r.agreement && r.agreement.kappa), "n"],
      ["labels", (r) => count(r.labels) + (r.agreement && r.agreement.drawn ? " drawn" : ""), "n"],
    ], data.verifiers, "No verifier gave a verdict.");
    say("labels-note", `${count(data.labels)} decisions have a label (feedback), ${count(data.drawn_labels)} of them drawn. ${data.labels_note}`);
  };

  const policies = () => {
    const judged = data.policies.length > 0 && data.policies.every((r) => r.right);
    say("policies-note", "Each point is a policy, by its digest. Quality is the share of " +
      (judged ? "labelled decisions that are right." : "decisions that ended with an accepted reply: there are too few labels to say how many were right."));
    table("policies", "Policies", [
      ["policy", (r) => r.policy.slice(0, 12)], ["decisions", (r) => count(r.decisions), "n"], ["cost a request", (r) => usd(r.cost_per_request_usd), "n"],
      ["accepted", (r) => rated(r.accepted), "n"], ["right", (r) => rated(r.right, tooFew(r.labels)), "n"], ["saved", (r) => percent(saved(r.saving)) || "unknown", "n"],
    ], data.policies);
  };

  const flow = () => {
    const {nodes, links} = data.flow;
    const rows = [...links].sort((a, b) => b.count - a.count);
    table("flow", "The way of the requests", [
      ["from", (r) => nodes[r.source][1]], ["to", (r) => nodes[r.target][1]], ["decisions", (r) => count(r.count), "n"],
    ], rows);
  };

  const drift = () => {
    say("drift-note", `The decisions since ${moment(data.recent_s)} (the last quarter) against those before. PSI measures how far: below 0.1 is small, above 0.25 large. ` +
      "The chance is how often a random choice of as many slices of time differs as much, all four tests allowed for.");
    table("drift", "Drift", [
      ["measure", (r) => r.measure], ["verdict", (r) => r.verdict], ["PSI", (r) => (known(r.psi) ? r.psi.toFixed(3) : ""), "n"],
      ["chance", (r) => chance(r.p_value), "n"], ["before", (r) => count(r.reference), "n"], ["recent", (r) => count(r.recent), "n"],
      ["shares before", (r) => r.bins.map((bin, i) => `${bin}: ${percent(r.reference_shares[i])}`).join("; ")],
      ["shares recently", (r) => r.bins.map((bin, i) => `${bin}: ${percent(r.recent_shares[i])}`).join("; ")],
    ], data.drift);
    data.drift.forEach((row, number) => {
      const card = element("figure", undefined, "card");
      const title = element("figcaption");
      title.append(element("b", row.measure), element("span", row.verdict, "verdict " + row.verdict.replaceAll(" ", "-")));
      const chart = element("div", undefined, "chart small-chart");
      chart.dataset.chart = `drift-${number}`;
      card.append(title, element("p", `PSI ${known(row.psi) ? row.psi.toFixed(3) : "unknown"} \u00b7 chance ${chance(row.p_value)}`, "small"), chart);
      byId("drift-cards").append(card);
    });
    table("rises", "Failures recently and before", [
      ["endpoint", (r) => r.endpoint], ["verdict", (r) => r.verdict, "t"], ["failed before", (r) => rated(r.before), "n"],
      ["recently", (r) => rated(r.recent), "n"], ["chance", (r) => chance(r.p_value), "n"],
    ], data.rises, "No call was made.");
    table("mismatches", "Calls that look like another step", [
      ["declared", (r) => r.step], ["looks like", (r) => r.looks_like], ["calls", (r) => count(r.calls.count), "n"], ["of the step", (r) => rated(r.calls), "n"],
    ], data.mismatches, "None: every call looks like the step it was declared to be.");
  };

  const notes = () => {
    const said = [
      "Costs are those in the ledger: price and reported usage, or an estimate where no usage was reported. An unknown cost is left out and counted, never taken as 0.",
      data.assumption,
      "A decision that gave no reply is paid for and saves nothing: the baseline counts returned replies alone.",
      "The interval of a saving takes threads as its units, in random groups, for the requests of one thread are alike. It holds for more of the same traffic; the doubt in the baseline, which is an estimate, is not in it.",
      "Intervals of rates are Wilson's, at 95 %. They hold for decisions drawn from the same traffic, and take no account of runs in which several decisions share a fate.",
      "Quantiles of latency are within 1 % (a histogram with logarithmic bounds). Drift is tested by permuting slices of time, Holm-adjusted.",
      "Prompts and replies are never in this file, whatever the ledger keeps.",
      ...data.omitted,
    ];
    for (const line of said) byId("notes").append(element("li", line));
  };

  const theme = () => {
    const order = ["Auto", "Light", "Dark"], said = {Auto: "as the system", Light: "light", Dark: "dark"};
    byId("theme").addEventListener("click", ({currentTarget: button}) => {
      const next = order[(order.indexOf(button.textContent) + 1) % 3];
      button.textContent = next;
      button.setAttribute("aria-label", `Colours: ${said[next]}`);
      if (next === "Auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next.toLowerCase();
      document.dispatchEvent(new Event("themechange"));
    });
  };

  for (const part of [lead, spending, worksheet, flow, rates, policies, drift, notes, theme]) part();
  return {data, FIRST_STEPS, clean, element, byId, say, count, estimated, usd, percent, seconds, rated, ratesOf, interval, iso, moment, known, saved, chance};
})();
