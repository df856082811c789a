// A client that has Element Call as its widget, in a made-up room whose calls go by the guard: what
// the two need of a homeserver besides an OpenID token is made up here. Comes after host.js.

class CallDriver extends Driver {
  constructor(who) {
    super(who);
    this.sent = 0;
    const state = (type, content, sender, state_key = "") => ({
      type, content, sender, state_key, room_id: who.room, event_id: `$${type}${state_key}`,
      origin_server_ts: 1, unsigned: {},
    });
    this.state = [
      state("m.room.create", { room_version: "11" }, who.people[0]),
      state("m.room.name", { name: who.name }, who.people[0]),
      ...who.people.map((user) => state(
        "m.room.member", { membership: "join", displayname: user.slice(1).split(":")[0] }, user, user,
      )),
    ];
  }

  async readRoomState(_room, type, key) {
    return this.state.filter((each) => each.type === type && (key ?? each.state_key) === each.state_key);
  }

  async sendEvent() {
    return { roomId: this.room, eventId: `$sent${++this.sent}` };
  }

  async sendDelayedEvent() {
    return { roomId: this.room, delayId: `delay${++this.sent}` };
  }

  async cancelScheduledDelayedEvent() {}

  async restartScheduledDelayedEvent() {}

  async getRtcTransports() {
    return { rtc_transports: [{ type: "livekit", livekit_service_url: this.guard }] };
  }
}

/** What Element Call tells the client besides; nothing follows from it here. */
const ACTIONS = ["io.element.device_mute", "io.element.join", "set_always_on_screen"];

/** Open Element Call, and join the room's call without its lobby. */
window.openCall = (who) => {
  const frame = document.getElementById("widget");
  const asked = {
    widgetId: "call1", parentUrl: location.href, userId: who.user, deviceId: "LAPTOP",
    roomId: who.room, baseUrl: who.homeserver, lang: who.language, theme: who.theme,
    intent: "join_existing", skipLobby: "true", perParticipantE2EE: "false",
  };
  const url = `${location.origin}/element-call/index.html?${new URLSearchParams(asked)}`;
  const widget = new Widget({
    id: "call1", creatorUserId: who.user, type: "m.call", url, waitForIframeLoad: false,
  });
  const driver = new CallDriver(who);
  driver.guard = who.guard;
  window.api = new ClientWidgetApi(widget, frame, driver);
  window.api.setViewedRoomId(who.room);
  for (const action of ACTIONS) {
    window.api.on(`action:${action}`, (event) => {
      event.preventDefault();
      window.api.transport.reply(event.detail, {});
    });
  }
  frame.src = url;
};
