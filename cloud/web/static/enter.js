// Moves the code behind the # of a link into the form, and out of the address bar and its history.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (!code) return;
  document.getElementById("secret").value = code;
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector("form.enter button").focus();
});
