// Most pages are the same for everybody; how full this visitor's cart is comes on its own.
const badge = document.querySelector("[data-count]");
const { copies } = await (await fetch(badge.dataset.count)).json();
if (copies) badge.textContent = copies;
