"use strict";
// Shows the sections of one benchmark on one set of images, and their entries in the contents.

for (const choose of document.querySelectorAll("[data-choose]")) {
  choose.closest(".choose").hidden = false;
  choose.addEventListener("change", () => {
    for (const section of document.querySelectorAll("[data-kind]")) {
      section.hidden = choose.value !== "" && section.dataset.kind !== choose.value;
      const link = document.querySelector(`nav a[href="#${section.getAttribute("aria-labelledby")}"]`);
      if (link) link.closest("li").hidden = section.hidden;
    }
  });
}
