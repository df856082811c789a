// The room as a Matrix client shows it to a widget: the few messages of the Widget API that are
// needed here (MSC2762 and MSC2876 for state, MSC1960 for OpenID).
//
// Only the window that frames this page is heard, and from its first message on only under the
// origin that this one came from; nothing but `content_loaded`, which says nothing, is sent before.

import { Trouble, troubleOf } from "./trouble.js";

const SECONDS = 20;
const VERSIONS = ["0.0.1", "0.0.2", "org.matrix.msc2762", "org.matrix.msc2871", "org.matrix.msc2876"];
const STATE = "org.matrix.msc2762.";
const state = (way, type) => `${STATE}${way}.state_event:${type}#`;

/** A room, through the client that frames this page. */
export class Widget {
  /** `types` are read, and those in `sent` are sent as well; `on` is told of `news` and `theme`. */
  constructor(host, { id = null, room = null, user = null, types, sent, on = {} }) {
    this.room = room;
    this.user = user;
    this._host = host;
    this._id = id;
    this._origin = null;
    this._on = on;
    this._wanted = [
      ...types.map((type) => state("receive", type)),
      ...sent.map((type) => state("send", type)),
    ];
    this._asked = new Map();
    this._grants = new Map();
    this._count = 0;
    this._resolve = () => {};
  }

  /** Begin to listen; resolves with what the client's user has not allowed of what is wanted. */
  start() {
    window.addEventListener("message", (event) => this._hear(event));
    if (this._id) this._post(this._request("content_loaded", {}), "*");
    return new Promise((resolve, reject) => {
      this._resolve = resolve;
      this._late = setTimeout(() => reject(new Trouble("no-host")), SECONDS * 1000);
    });
  }

  /** A state event whose key is empty; null where there is none. */
  async read(type) {
    const data = { type, state_key: "", limit: 1 };
    const { events } = await this._ask("org.matrix.msc2876.read_events", data);
    const event = Array.isArray(events) ? events.find((each) => each?.type === type) : null;
    if (event?.room_id && !this.room) this.room = event.room_id;
    return event ?? null;
  }

  /** Set a state event as the user, with their own power. */
  async send(type, content) {
    await this._ask("send_event", { type, state_key: "", content });
  }

  /** A token by which the homeserver vouches for the user; the client asks them first. */
  async openId() {
    const request = this._request("get_openid", {});
    const granted = new Promise((resolve) => this._grants.set(request.requestId, resolve));
    const answer = await this._sent(request);
    // Users take their time to answer their client's question.
    const token = answer.state === "request" ? await granted : answer;
    this._grants.delete(request.requestId);
    if (token.state !== "allowed" || !token.access_token) throw new Trouble("not-vouched");
    return token;
  }

  _request(action, data) {
    this._count += 1;
    const requestId = `panel-${Date.now()}-${this._count}`;
    return { api: "fromWidget", widgetId: this._id, requestId, action, data };
  }

  _ask(action, data) {
    return this._sent(this._request(action, data));
  }

  _sent(request) {
    return new Promise((resolve, reject) => {
      const late = () => this._settle(request.requestId, () => reject(new Trouble("no-host")));
      const timer = setTimeout(late, SECONDS * 1000);
      this._asked.set(request.requestId, { resolve, reject, timer });
      this._post(request, this._origin);
    });
  }

  _settle(requestId, how) {
    const waiting = this._asked.get(requestId);
    if (!waiting) return;
    clearTimeout(waiting.timer);
    this._asked.delete(requestId);
    how(waiting);
  }

  _post(message, origin) {
    // A client in a window without an origin of its own (`null`) can be named by `*` alone.
    this._host.postMessage(message, origin === "null" ? "*" : origin);
  }

  _hear(event) {
    const message = event.data;
    if (event.source !== this._host || typeof message !== "object" || message === null) return;
    if (this._origin !== null && event.origin !== this._origin) return;
    if (this._id && message.widgetId !== this._id) return;
    if (message.api === "fromWidget" && message.response) {
      this._answered(message);
    } else if (message.api === "toWidget" && !message.response) {
      this._origin ??= event.origin;
      this._id ??= message.widgetId;
      const answer = this._told(message.action, message.data ?? {});
      this._post({ ...message, response: answer }, this._origin);
    }
  }

  _answered({ requestId, response }) {
    const error = response.error;
    if (!error) this._settle(requestId, ({ resolve }) => resolve(response));
    else this._settle(requestId, ({ reject }) => reject(troubleIn(error)));
  }

  /** Take in what the client tells or asks; returns the answer. */
  _told(action, data) {
    if (action === "capabilities") {
      clearTimeout(this._late); // from here on the client's user has all the time they want
      return { capabilities: this._wanted };
    }
    if (action === "supported_api_versions") return { supported_versions: VERSIONS };
    if (action === "notify_capabilities") this._resolve(this._missing(data.approved));
    else if (action === "openid_credentials") this._grants.get(data.original_request_id)?.(data);
    else if (action === "theme_change") this._on.theme?.(String(data.name ?? ""));
    else if (action === "send_event" || action === "update_state") this._on.news?.();
    return {};
  }

  /** What the user has not allowed, of what was wanted. */
  _missing(approved) {
    const allowed = Array.isArray(approved) ? approved : [];
    return this._wanted.filter((each) => !allowed.includes(each));
  }
}

/** The trouble that a client tells of: in so many words, or by what its Matrix library says. */
function troubleIn(error) {
  const matrix = error.matrix_api_error;
  if (matrix) return troubleOf(matrix.http_status, matrix.response);
  const said = String(error.message ?? "");
  const status = Number(/\[(\d{3})\]/.exec(said)?.[1]);
  if (status) return troubleOf(status, { error: said });
  if (/^Cannot (read|send) state events/.test(said)) return new Trouble("not-allowed");
  return troubleOf(0, { error: said });
}
