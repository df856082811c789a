// What the guard knows of a room's call: told to its moderators, who are known by their homeserver.

import { Trouble, ask } from "./trouble.js";

const WHY = "io.lotus.why";
const USER = "io.lotus.user";

/** Where the guard answers: beside this page, or where whoever serves the page has written. */
export function guardUrl() {
  const named = document.querySelector('meta[name="lotus-guard"]').content;
  return new URL("room", named ? new URL(named, document.baseURI) : document.baseURI).href;
}

/** Asks for one room, with tokens of its user. */
export class Guard {
  /** `openId` gets a token; `onUser` is told who the user is, once the guard has found out. */
  constructor(url, openId, onUser = () => {}) {
    this._url = url;
    this._openId = openId;
    this._onUser = onUser;
    this._token = null;
  }

  /** Who is in the call, and what was done; raises Trouble. */
  async look(room) {
    const isNew = this._token === null;
    this._token ??= await this._openId();
    try {
      return await this._ask(room);
    } catch (trouble) {
      const isOver = trouble.kind === "guard-unvouched";
      if (isOver) this._token = null;
      if (!isOver || isNew) throw trouble;
      return this.look(room);
    }
  }

  async _ask(room) {
    const { access_token, matrix_server_name } = this._token;
    const openid_token = { access_token, matrix_server_name };
    try {
      const found = await ask(this._url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ room_id: room, openid_token }),
      });
      this._knows(found.user);
      return found;
    } catch (trouble) {
      this._knows(trouble.body?.[USER]);
      const why = trouble.body?.[WHY];
      if (why) throw new Trouble(`guard-${why}`);
      throw trouble.kind === "limited" ? trouble : new Trouble("guard-away");
    }
  }

  _knows(user) {
    if (typeof user === "string") this._onUser(user);
  }
}
