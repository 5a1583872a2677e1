import type { Option } from './command.ts'

/** How many past items a follower sees first when nothing else is said, as in `tail -f` and `journalctl -f`. */
export const FOLLOW_TAIL = 10

/** The options of commands that show a stream of the past and, if wanted, of what comes. */
export const FOLLOW_OPTIONS: readonly Option[] = [
  { flags: '-f, --follow', summary: 'go on with new ones as they come, until ^C' },
  { flags: '-n, --tail <n>', summary: 'only the last N' },
  { flags: '--since <when>', summary: 'only those since: a duration, such as 5m, or an RFC 3339 time' },
]
