"use strict";
// Shows the tables of one benchmark on one set of images.

for (const choose of document.querySelectorAll("[data-choose]")) {
  choose.closest(".choose").hidden = false;
  choose.addEventListener("change", () => {
    for (const part of document.querySelectorAll("[data-kind]")) {
      part.hidden = choose.value !== "" && part.dataset.kind !== choose.value;
    }
  });
}
