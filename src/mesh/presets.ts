/** The numbers by which a mesh measures time. See `lan` for what each value is and why. */
export interface MeshTiming {
  /** Time between two pings of this node; each goes to the member that was silent longest, give or take chance. */
  readonly pingPeriodMs: number
  /** How long a ping may take. */
  readonly pingTimeoutMs: number
  /** How long the members that are asked to ping in our place have, on top of `pingTimeoutMs`. */
  readonly indirectTimeoutMs: number
  /** How many members are asked to ping in our place. */
  readonly indirectPings: number
  /** How many voices besides the first make a suspicion as short as it gets. */
  readonly confirmations: number
  /** Shortest suspicion of a silent member in a mesh of up to 10; `log10(members)` times that in a larger one. */
  readonly suspicionMinMs: number
  /** The longest suspicion, when nobody confirms it, as a multiple of the shortest. */
  readonly suspicionMaxFactor: number
  /** Suspicion of a silent member when there is nobody else to ask: a mesh of two. */
  readonly suspicionAloneMs: number
  /** Suspicion of a member to which all who had to confirm have lost their connection. */
  readonly linkLossMs: number
  /** Rest between two syncs with a random peer, give or take 20 %. */
  readonly syncIntervalMs: number
  /** How long one request of a sync may take. */
  readonly syncTimeoutMs: number
  /** How long leaving waits for the others to have heard it. */
  readonly leaveTimeoutMs: number
  /** How long a member that left is remembered. */
  readonly leftTombstoneMs: number
  /** How long a dead member is remembered, shown and dialled. Serf's `reconnect_timeout` is 24 h as well. */
  readonly deadTombstoneMs: number
}

/**
 * For hosts on one local network: round trips below 50 ms, hardly any loss.
 *
 * Silence (a frozen or unplugged host). Each node pings one of its n - 1 peers a period, the one that was silent longest;
 * so each pair is checked every (n - 1) / 2 periods, and the first ping that meets the silence comes, with probability
 * 0.99, within `pingPeriodMs * max(1, (n - 1) / 2 * (1 - 0.01^(1/(n - 1))))`: 0.4 s of 2 members, 0.7 s of 10, 0.9 s of
 * 100. Then:
 *
 *     direct ping           pingTimeoutMs                  200 ms
 *     indirect pings        indirectTimeoutMs              200 ms   (none in a mesh of two)
 *     suspicion, confirmed  suspicionMinMs                 400 ms   (others ping at once when they hear of it)
 *     or, mesh of two       suspicionAloneMs             1,200 ms   (some six more tries)
 *     p99 of 10 members     720 + 200 + 200 + 400    =   1,520 ms
 *     p99 of 2 members      400 + 200 + 1,200        =   1,800 ms
 *
 * The simulator measures (test/sim/detection.test.ts, 20 seeds of 10 members) p50 1,010 ms, p99 1,670 ms.
 *
 * A suspicion that only one node holds lasts `suspicionMinMs * suspicionMaxFactor` = 2.4 s, in which the suspect hears
 * of it from broadcast, from each ping (a ping says what the asker believes) and from sync, and answers with a higher
 * incarnation.
 *
 * On a network on which answers take longer than `pingTimeoutMs`, all of these times but the period are multiplied by the pace of
 * the member, 1 to 6 (detector/pace.ts).
 *
 * A killed process resets its connections; findings measured 16 to 77 ms until the others see that. All then say so at
 * once (broadcast 4 to 40 ms), and `linkLossMs` after its own loss each declares it dead: 77 + 80 < 200 ms.
 *
 * Compare memberlist's DefaultLANConfig: probe 1 s, timeout 500 ms, 3 indirect, suspicion mult 4, max 6 times; it
 * shares UDP with loss and has no resets to go by.
 */
export const lan: MeshTiming = {
  pingPeriodMs: 400,
  pingTimeoutMs: 200,
  indirectTimeoutMs: 200,
  indirectPings: 3,
  confirmations: 2,
  suspicionMinMs: 400,
  suspicionMaxFactor: 6,
  suspicionAloneMs: 1_200,
  linkLossMs: 80,
  syncIntervalMs: 2_000,
  syncTimeoutMs: 2_000,
  leaveTimeoutMs: 300,
  leftTombstoneMs: 600_000,
  deadTombstoneMs: 86_400_000,
}

/**
 * For nodes that share one machine, as differences to `lan`: they also share its processors, so silence means less
 * (a busy machine makes everybody late at once) while syncs are cheap. A silent node is dead after about 3 s.
 */
const local: MeshTiming = {
  ...lan,
  pingTimeoutMs: 400,
  indirectTimeoutMs: 400,
  suspicionMinMs: 800,
  suspicionAloneMs: 1_600,
  syncIntervalMs: 1_000,
}

/**
 * For hosts in several places, as differences to `lan`: round trips of up to 400 ms and lines that drop out for a second or two.
 * By the same formulas a silent node of 10 is dead after at most 3,600 + 1,000 + 1,500 + 3,000 = 9.1 s, p99; one whose
 * connections break after 1 s. Compare memberlist's DefaultWANConfig: probe 5 s, timeout 3 s, suspicion mult 6.
 */
const wan: MeshTiming = {
  ...lan,
  pingPeriodMs: 2_000,
  pingTimeoutMs: 1_000,
  indirectTimeoutMs: 1_500,
  suspicionMinMs: 3_000,
  suspicionAloneMs: 6_000,
  linkLossMs: 1_000,
  syncIntervalMs: 10_000,
  syncTimeoutMs: 10_000,
  leaveTimeoutMs: 2_000,
}

/** The presets by their names in the file. */
export const MESH_PRESETS = { lan, local, wan } as const satisfies Record<string, MeshTiming>
