"use strict";
// Shows what hotrun says: `hotrun(picture)` is called once for each change, by the script elements that
// follow. Text is only ever set as text.
const part = (id) => document.getElementById(id);
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
let isOver = false;

function block(spans) {
  const pre = document.createElement("pre");
  for (const { text, style, link } of spans) {
    const piece = document.createElement(link ? "a" : "span");
    if (link) piece.href = link;
    if (style) piece.className = style;
    piece.textContent = text;
    pre.append(piece);
  }
  return pre;
}

// Heading, what it is about, and the kind of state: `busy`, `failed` or `idle`.
function words(picture) {
  const name = picture.target ?? "the program";
  const problem = picture.problem;
  switch (picture.state) {
    case "preparing":
      return ["Reading the project", "", "busy"];
    case "building": {
      const lock = picture.building?.waits_for;
      return [`Building ${name}`, lock ? `It waits for another cargo (${lock}).` : "", "busy"];
    }
    case "starting":
      return [`Starting ${name}`, "", "busy"];
    case "live":
      return [`${name} is live`, "", "busy"];
    case "ending":
      return ["hotrun ends", "", "idle"];
    case "failed":
      switch (problem?.kind) {
        case "build":
          return ["The build failed", picture.errors.length ? "" : problem.text, "failed"];
        case "app":
          return [`${name} failed`, problem.text, "failed"];
        default:
          return ["A command failed", problem?.text ?? "", "failed"];
      }
    default:
      return [`${name} does not run`, "", "idle"];
  }
}

function icon(kind) {
  const color = { busy: "%232f6fde", failed: "%23c8372d", idle: "%23888" }[kind];
  part("icon").href =
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>" +
    `<circle cx='4' cy='4' r='3.5' fill='${color}'/></svg>`;
}

function hotrun(picture) {
  const [title, about, kind] = words(picture);
  const { errors, warnings } = { errors: 0, warnings: 0, ...picture.last_build };
  const progress = picture.state === "building" ? picture.building?.progress : null;
  let count = "";
  if (progress) count = `${progress[0]} of ${progress[1]}`;
  else if (picture.problem?.kind === "build" && kind === "failed" && errors) {
    count = plural(errors, "error") + (warnings ? `, ${plural(warnings, "warning")}` : "");
  }
  document.body.className = kind;
  document.title = count ? `${title} (${count})` : title;
  icon(kind);
  part("title").textContent = title;
  part("count").textContent = count;
  part("about").textContent = about;
  part("about").hidden = !about;
  const bar = part("bar");
  bar.hidden = kind !== "busy";
  bar.classList.toggle("unknown", !progress);
  if (progress) bar.firstElementChild.style.width = `${(100 * progress[0]) / Math.max(1, progress[1])}%`;
  else bar.firstElementChild.style.width = "";
  const shown = kind === "failed" ? [...picture.errors, picture.output].filter((spans) => spans.length) : [];
  part("blocks").replaceChildren(...shown.map(block));
  document.body.classList.toggle("long", shown.length > 0);
  let foot = "This page turns into the app when it is live.";
  if (picture.paused) foot = "Paused: changed files are built after “resume”.";
  else if (kind === "failed" && picture.problem?.kind !== "debugged") {
    foot = "Save a fix, and this page turns into the app.";
  } else if (kind === "idle" && picture.state === "idle") {
    foot = "It starts again when a source changes.";
  }
  part("foot").textContent = foot;
}

// The last thing that is sent: the app is live.
function live() {
  isOver = true;
  location.reload();
}

// The page has ended without that, so hotrun has: look now and then whether it is there again.
addEventListener("load", () => {
  if (isOver) return;
  part("title").textContent = "hotrun has ended";
  document.title = "hotrun has ended";
  document.body.className = "idle";
  icon("idle");
  for (const id of ["count", "about", "blocks"]) part(id).replaceChildren();
  part("bar").hidden = true;
  part("foot").textContent = "This page looks for it every second.";
  setInterval(async () => {
    try {
      // Answered at once, by hotrun or by the app.
      const headers = { "Hotrun-Page": "anybody" };
      await fetch(location.href, { method: "HEAD", cache: "no-store", headers });
      location.reload();
    } catch {
      // Not there yet.
    }
  }, 1000);
});
