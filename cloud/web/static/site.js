// Draws the page's charts, tells moments by the reader's clock, keeps what is marked live up to date.
"use strict";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawChart(place) {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), automargin: true };
  const layout = {
    ...figure.layout,
    xaxis: { ...axis, ...figure.layout.xaxis },
    yaxis: { ...axis, ...figure.layout.yaxis },
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: style("--ink"), family: "system-ui, sans-serif", size: 13 },
    margin: { l: 50, r: 10, t: 10, b: 45 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
  };
  Plotly.react(place, figure.data, layout, { responsive: true, displaylogo: false });
}

function drawCharts() {
  if (window.Plotly) document.querySelectorAll(".plot[data-figure]").forEach(drawChart);
}

// Moments come in UTC; people read their own clock, and see UTC where they point.
function tellMoments(place) {
  const zone = new Intl.DateTimeFormat("en", { timeZoneName: "short" });
  const two = (number) => String(number).padStart(2, "0");
  place.querySelectorAll("time[data-moment]").forEach((told) => {
    const at = new Date(told.dateTime);
    const name = zone.formatToParts(at).find((part) => part.type === "timeZoneName").value;
    const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
    told.title = told.textContent;
    told.textContent =
      `${day} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${name}`;
  });
}

// <section data-live="/address" data-seconds="2"> is replaced by what the address answers, until
// an answer says that it is the last one.
function keepLive(section) {
  const pause = 1000 * Number(section.dataset.seconds || "2");
  let shown = null;
  const step = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(section.dataset.live, { credentials: "same-origin" });
        const text = await answer.text();
        // What did not change stays: whoever has the focus in it keeps it.
        if (answer.ok && text !== shown) {
          section.innerHTML = shown = text;
          tellMoments(section);
        }
        section.classList.toggle("old", !answer.ok);
        if (answer.ok && answer.headers.get("Cornerloop-Live") === "last") return;
      } catch {
        section.classList.add("old");
      }
    }
    setTimeout(step, pause);
  };
  setTimeout(step, pause);
}

document.addEventListener("DOMContentLoaded", () => {
  drawCharts();
  tellMoments(document);
  document.querySelectorAll("[data-live]").forEach(keepLive);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
