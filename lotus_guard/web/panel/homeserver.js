// The room by the homeserver itself, for a panel that stands alone: with an access token that its
// user has typed in. It is kept in this object alone, and goes to no other server.

import { Trouble, ask } from "./trouble.js";

const LOOPBACK = ["localhost", "127.0.0.1"];

/** The base address that somebody means; raises Trouble for one that browsers may not call. */
export async function baseOf(typed) {
  const text = typed.trim().replace(/\/+$/, "");
  if (/^https?:\/\//i.test(text)) return addressOf(text);
  const named = addressOf(`https://${text}`);
  try {
    const url = `${named}/.well-known/matrix/client`;
    const known = await ask(url, { seconds: 5, redirect: "follow" });
    return addressOf(String(known["m.homeserver"].base_url).replace(/\/+$/, ""));
  } catch {
    return named;
  }
}

function addressOf(text) {
  if (!URL.canParse(text)) throw new Trouble("no-address");
  const url = new URL(text);
  const isHere = url.protocol === "http:" && LOOPBACK.includes(url.hostname);
  if (url.protocol !== "https:" && !isHere) throw new Trouble("no-https");
  if (url.username || url.search || url.hash) throw new Trouble("no-address");
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

/** A room at a homeserver. */
export class Homeserver {
  #token;

  constructor(base, token) {
    this.base = base;
    this.#token = token;
    this.user = null;
    this.room = null;
  }

  /** Find out whose the token is, and which room is meant: by its id or an alias of it. */
  async open(room) {
    this.user = await this.#whoami();
    const typed = room.trim();
    if (typed.startsWith("#")) {
      const found = await this.#ask("GET", `directory/room/${encodeURIComponent(typed)}`);
      this.room = found.room_id;
    } else {
      this.room = typed;
    }
    if (!/^![^\s]/.test(this.room)) throw new Trouble("no-room");
  }

  /** A state event whose key is empty; null where there is none. */
  async read(type) {
    const path = this.#state(type);
    try {
      return whole(type, await this.#ask("GET", `${path}?format=event`));
    } catch (trouble) {
      if (trouble.kind === "missing") return null;
      throw trouble;
    }
  }

  /** Set a state event as the user. */
  async send(type, content) {
    await this.#ask("PUT", this.#state(type), content);
  }

  /** A token by which the homeserver vouches for the user. */
  async openId() {
    return this.#ask("POST", `user/${encodeURIComponent(this.user)}/openid/request_token`, {});
  }

  async #whoami() {
    try {
      const { user_id } = await this.#ask("GET", "account/whoami");
      if (typeof user_id === "string") return user_id;
    } catch (trouble) {
      // No homeserver lacks that path.
      if (trouble.kind !== "missing") throw trouble;
    }
    throw new Trouble("no-homeserver");
  }

  #state(type) {
    return `rooms/${encodeURIComponent(this.room)}/state/${encodeURIComponent(type)}/`;
  }

  #ask(method, path, body) {
    return ask(`${this.base}/_matrix/client/v3/${path}`, {
      method,
      headers: {
        Authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }
}

/** An event of what came: some homeservers give the content alone, whatever they are asked. */
function whole(type, came) {
  const isEvent = came.type === type && typeof came.content === "object" && came.content !== null;
  return isEvent ? came : { type, state_key: "", content: came };
}
