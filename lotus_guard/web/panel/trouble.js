// What can go wrong, as a kind that has a sentence in the texts: its key is the kind's name behind
// "trouble.".

const OF_STATUS = { 401: "unknown-token", 403: "forbidden", 404: "missing", 429: "limited" };

/** Something that the reader is told of. */
export class Trouble extends Error {
  /** `wait`: for so many milliseconds nothing is to be asked again; `fields` for its sentence. */
  constructor(kind, { wait = 0, fields = {} } = {}) {
    super(kind);
    this.kind = kind;
    this.wait = wait;
    this.fields = fields;
  }
}

/** The trouble that an answer tells of: its status, and the Matrix error in its body. */
export function troubleOf(status, body = {}) {
  const wait = Number(body?.retry_after_ms);
  const isNone = status === 404 && body?.errcode === "M_UNRECOGNIZED";
  const known = isNone ? "no-homeserver" : OF_STATUS[status];
  const kind = known ?? (status >= 500 ? "server" : "unexpected");
  const fields = { status, said: String(body?.error ?? "").slice(0, 200) };
  return new Trouble(kind, { wait: wait > 0 && wait < 1e9 ? wait : 2000, fields });
}

/** Ask by HTTP for JSON; raises Trouble for whatever is no 200, with the body as `said`. */
export async function ask(url, { seconds = 15, ...how } = {}) {
  let answer;
  try {
    const bounds = { signal: AbortSignal.timeout(seconds * 1000), credentials: "omit" };
    answer = await fetch(url, { cache: "no-store", redirect: "error", ...bounds, ...how });
  } catch {
    throw new Trouble("network");
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  throw Object.assign(troubleOf(answer.status, body ?? {}), { body });
}

/** Do something that may be refused for its pace: again after the time that is asked for. */
export async function patiently(work, onWait) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (trouble) {
      if (trouble.kind !== "limited" || tries === 4 || trouble.wait > 30_000) throw trouble;
      onWait(Math.ceil(trouble.wait / 1000));
      await new Promise((done) => setTimeout(done, trouble.wait));
    }
  }
}
