// Puts decisions together, so that fifty a second stay readable: what is alike in one room and ten
// minutes is one group, and where that happens in many rooms at once, they are one group together.

import { statesOf } from "./states.js";

const SECONDS = 600; // from the first: a group ends, and a room where it goes on gets a new one
const AT_ONCE_SECONDS = 10;
const MOST_AT_ONCE = 3; // groups alike that begin at once; further rooms share one
const MOST_GROUPS = 200;
const MOST_MEMBERS = 50;
const MOST_NAMES = 100;
const MOST_SEEN = 2000;
const NUMBER = /\d+(?:\.\d+)?(?:e[+-]\d+)?/g; // 0.97 s is as late as 1 s

/** A number of decisions that are alike. */
class Group {
  constructor(id, first, isWide) {
    this.id = id;
    this.isWide = isWide;
    this.begun = first.at;
    this.count = 0;
    this.members = []; // newest first, and not all of them
    this.users = new Set();
    this.rooms = new Set();
    this.heap = null;
    this.states = statesOf("decision", first);
    this.isUnguarded = first.kind === "fail_open";
  }

  get latest() {
    return this.members[0];
  }

  add(decision) {
    this.count += 1;
    this.members.unshift(decision);
    if (this.members.length > MOST_MEMBERS) this.members.pop();
    if (this.users.size < MOST_NAMES && decision.user) this.users.add(decision.user);
    if (this.rooms.size < MOST_NAMES && decision.room) this.rooms.add(decision.room);
    this.heap = null;
  }
}

/** All groups, the one that began last first; `onDrop` is told of one that is given up. */
export class Groups {
  constructor(onDrop) {
    this.onDrop = onDrop;
    this.clear();
  }

  clear() {
    this.all = [];
    this.open = new Map();
    this.seen = new Set();
    this.newest = new Map();
    this.number = 0;
  }

  /** Take decisions in, newest first; gives those that are new, and the groups that they are in. */
  add(decisions) {
    const fresh = decisions.filter(({ id }) => !this.seen.has(id)).sort((a, b) => a.at - b.at);
    const touched = new Set();
    for (const decision of fresh) {
      this.seen.add(decision.id);
      this.newest.set(decision.kind, decision);
      const group = this.groupOf(decision);
      group.add(decision);
      touched.add(group);
    }
    for (const id of this.seen) if (this.seen.size > MOST_SEEN) this.seen.delete(id);
    this.bound();
    return { fresh, touched };
  }

  groupOf(decision) {
    const wide = alike(decision);
    const narrow = `${wide}\n${decision.room}`;
    const known = this.current(narrow, decision) ?? this.current(wide, decision);
    if (known) return known;
    const isWide = this.begunLately(wide, decision.at) >= MOST_AT_ONCE;
    const group = new Group((this.number += 1), decision, isWide);
    group.alike = wide;
    this.open.set(isWide ? wide : narrow, group);
    this.all.unshift(group);
    return group;
  }

  current(key, { at }) {
    const group = this.open.get(key);
    return group && at - group.begun < SECONDS ? group : null;
  }

  begunLately(wide, at) {
    let number = 0;
    for (const group of this.all) {
      if (at - group.begun >= AT_ONCE_SECONDS) break;
      if (group.alike === wide) number += 1;
    }
    return number;
  }

  /** Forget the oldest ones; refusals, which anybody can cause, push no unguarded join out. */
  bound() {
    while (this.all.length > MOST_GROUPS) {
      const last = this.all.findLastIndex((group) => !group.isUnguarded);
      this.onDrop(this.all.splice(last, 1)[0]);
    }
    if (this.open.size <= 2 * MOST_GROUPS) return;
    const there = new Set(this.all);
    for (const [key, group] of this.open) if (!there.has(group)) this.open.delete(key);
  }
}

/** What decisions have in common that are told as one: numbers in the reason may differ. */
function alike({ kind, rule, observed, why }) {
  return [kind, rule, observed, why.replace(NUMBER, "#")].join("\n");
}
