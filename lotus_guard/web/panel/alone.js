// The panel on its own: asks for a homeserver, an access token and a room.

import { at } from "./dom.js";
import { Homeserver, baseOf } from "./homeserver.js";

/** Show the form; `open` is handed a homeserver whose room is known, `tell` what went wrong. */
export function askForRoom({ open, tell, busy }) {
  const form = at("alone");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const empty = ["homeserver", "token", "room-id"].map(at).find((each) => !each.value.trim());
    if (empty) {
      empty.focus();
      return;
    }
    busy(true);
    try {
      const base = await baseOf(at("homeserver").value);
      const homeserver = new Homeserver(base, at("token").value.trim());
      await homeserver.open(at("room-id").value);
      await open(homeserver);
      at("token").value = "";
      form.hidden = true;
    } catch (trouble) {
      tell(trouble);
    } finally {
      busy(false);
    }
  });
}
