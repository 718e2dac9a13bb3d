"use strict";

const THUMB = 44; // pixels, as in the style sheet

/** Makes a figure do what its controls say; returns what others may ask of it. */
function enliven(figure) {
  const find = (selector) => figure.querySelector(selector);
  const [scroll, divider, zoom] = [find(".scroll"), find(".divider"), find(".zoom")];
  const sides = ["left", "right"].map((name) => ({
    select: find(`select.${name}`), image: find(`img.${name}`),
    tag: find(`.tag.${name}`), score: find(`.score.${name}`),
  }));
  let near = false;

  // The divider stands still while what is below it is scrolled.
  function cut() {
    const visible = scroll.clientWidth;
    divider.style.width = `${visible + THUMB}px`;
    const at = scroll.scrollLeft + (visible * divider.value) / divider.max;
    sides[1].image.style.clipPath = `inset(0 0 0 ${at}px)`;
  }

  // Images far from what is seen are not kept decoded.
  function show() {
    for (const { select, image, tag, score } of sides) {
      const option = select.selectedOptions[0];
      const data = document.getElementById(option.value);
      const told = option.dataset.score ? `${option.text}: ${option.dataset.score}` : option.text;
      tag.textContent = option.text;
      score.textContent = told;
      image.alt = `${figure.dataset.name}, ${told}`;
      if (near) image.src = `data:${data.type};base64,${data.textContent}`;
      else image.removeAttribute("src");
    }
  }

  // What was at a point of the view, (0.5, 0.5) its middle, stays there.
  function enlarge(x = 0.5, y = 0.5) {
    const across = (scroll.scrollLeft + x * scroll.clientWidth) / scroll.scrollWidth;
    const down = (scroll.scrollTop + y * scroll.clientHeight) / scroll.scrollHeight;
    figure.classList.toggle("zoomed", zoom.value !== "0");
    figure.style.setProperty("--zoom", zoom.value);
    scroll.scrollLeft = across * scroll.scrollWidth - x * scroll.clientWidth;
    scroll.scrollTop = down * scroll.scrollHeight - y * scroll.clientHeight;
    cut();
  }

  function drag(event) {
    if (zoom.value === "0") {
      const box = scroll.getBoundingClientRect();
      divider.value = (divider.max * (event.clientX - box.left)) / box.width;
      cut();
    } else {
      scroll.scrollBy(-event.movementX, -event.movementY);
    }
  }

  scroll.addEventListener("pointerdown", (event) => {
    const pans = zoom.value !== "0" && event.pointerType !== "mouse"; // the browser does it
    if (event.button || pans || event.offsetX > scroll.clientWidth) return;
    scroll.setPointerCapture(event.pointerId);
    if (zoom.value === "0") drag(event);
  });
  scroll.addEventListener("pointermove", (event) => {
    if (scroll.hasPointerCapture(event.pointerId)) drag(event);
  });
  // Of the whole view: the first of two clicks moves the divider below the second.
  find(".view").addEventListener("dblclick", (event) => {
    const box = scroll.getBoundingClientRect();
    zoom.value = zoom.value === "0" ? "4" : "0";
    enlarge((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  });
  scroll.addEventListener("scroll", cut);
  divider.addEventListener("input", cut);
  zoom.addEventListener("change", () => enlarge());
  for (const { select } of sides) select.addEventListener("change", show);
  new ResizeObserver(cut).observe(scroll);
  new IntersectionObserver(
    ([entry]) => {
      near = entry.isIntersecting;
      show();
    },
    { rootMargin: "100%" },
  ).observe(figure);

  return {
    choose(side, name) {
      const { select } = sides[side];
      const option = [...select.options].find((each) => each.text === name);
      if (option) option.selected = true;
      show();
    },
    zoomTo(value) {
      zoom.value = value;
      enlarge();
    },
  };
}

const figures = [...document.querySelectorAll("figure")].map(enliven);
const all = document.getElementById("all");
for (const [side, name] of ["left", "right"].entries()) {
  const select = all.querySelector(`.${name}`);
  select.addEventListener("change", () => {
    for (const figure of figures) figure.choose(side, select.value);
  });
}
const zoom = all.querySelector(".zoom");
zoom.addEventListener("change", () => {
  for (const figure of figures) figure.zoomTo(zoom.value);
});
