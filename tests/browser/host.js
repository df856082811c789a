// The client's side of the Widget API, by the real matrix-widget-api: a client of one user whose
// widget is the panel. It reads and sets state at their homeserver, as a Matrix client does.

const { ClientWidgetApi, OpenIDRequestState, Widget, WidgetDriver } = window.mxwidgets;

/** How the client behaves; the test changes it before it calls `openWidget`. */
window.client = { asksFirst: true, denies: [], refusesOpenId: false, plainErrors: false };

class MatrixError extends Error {
  constructor(status, body) {
    super(`MatrixError: [${status}] ${body.error}`);
    this.status = status;
    this.body = body;
  }
}

class Driver extends WidgetDriver {
  constructor({ homeserver, token, user, room }) {
    super();
    Object.assign(this, { homeserver, token, user, room });
  }

  async call(method, path, body) {
    const answer = await fetch(`${this.homeserver}/_matrix/client/v3/${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.token}` },
      body: body && JSON.stringify(body),
    });
    const said = await answer.json();
    if (!answer.ok) throw new MatrixError(answer.status, said);
    return said;
  }

  path(type, key = "") {
    return `rooms/${encodeURIComponent(this.room)}/state/${type}/${encodeURIComponent(key)}`;
  }

  async validateCapabilities(requested) {
    window.client.requested = [...requested];
    const isDenied = (each) => window.client.denies.some((part) => each.includes(part));
    return new Set([...requested].filter((each) => !isDenied(each)));
  }

  async readRoomState(_room, type, key) {
    try {
      const content = await this.call("GET", `${this.path(type, key)}?format=event`);
      const isEvent = content.type === type && "content" in content;
      const event = { type, state_key: key ?? "", room_id: this.room, content };
      return [isEvent ? { ...content, room_id: this.room } : event];
    } catch (error) {
      if (error.status === 404) return [];
      throw error;
    }
  }

  async sendEvent(type, content, key) {
    const { event_id } = await this.call("PUT", this.path(type, key ?? ""), content);
    return { roomId: this.room, eventId: event_id };
  }

  processError(error) {
    if (!(error instanceof MatrixError) || window.client.plainErrors) return undefined;
    const { status: http_status, body: response } = error;
    return { matrix_api_error: { http_status, http_headers: {}, url: "", response } };
  }

  async askOpenID(observer) {
    const path = `user/${encodeURIComponent(this.user)}/openid/request_token`;
    if (window.client.asksFirst) {
      observer.update({ state: OpenIDRequestState.PendingUserConfirmation });
      await new Promise((done) => setTimeout(done, 100));
    }
    if (window.client.refusesOpenId) observer.update({ state: OpenIDRequestState.Blocked });
    else observer.update({ state: OpenIDRequestState.Allowed, token: await this.call("POST", path, {}) });
  }

  getKnownRooms() {
    return [this.room];
  }
}

/** Open the panel as a client does that has it as a widget. */
window.openWidget = (url, who, theme) => {
  const widget = new Widget({
    id: "widget1", creatorUserId: who.user, type: "m.custom", url, waitForIframeLoad: true,
  });
  const complete = new URL(
    widget.getCompleteUrl({
      widgetRoomId: who.room, currentUserId: who.user, clientLanguage: who.language ?? "en",
      clientTheme: theme ?? "light",
    }),
  );
  complete.searchParams.set("widgetId", widget.id);
  complete.searchParams.set("parentUrl", location.href);
  const frame = document.getElementById("widget");
  const api = new ClientWidgetApi(widget, frame, new Driver(who));
  api.setViewedRoomId(who.room);
  frame.src = complete.href;
  window.api = api;
};
