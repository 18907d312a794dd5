"use strict";
// Draws all charts of the page, in the colour of its text.

// "ast": expressions are interpreted, because the page's policy forbids eval.
const options = { mode: "vega", actions: false, renderer: "svg", ast: true };

for (const place of document.querySelectorAll(".drawing[data-spec]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
  vegaEmbed(place, spec, options)
    .then(() => { place.dataset.drawn = ""; })
    .catch((error) => {
      place.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    });
}
