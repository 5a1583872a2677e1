import type { Command } from './command.ts'
import { adoptCommand } from './commands/adopt.ts'
import { attachCommand } from './commands/attach.ts'
import { callCommand } from './commands/call.ts'
import { callsCommand } from './commands/calls.ts'
import { completionCommand } from './commands/completion.ts'
import { configSchemaCommand } from './commands/config-schema.ts'
import { configShowCommand } from './commands/config-show.ts'
import { configValidateCommand } from './commands/config-validate.ts'
import { describeCommand } from './commands/describe.ts'
import { detachCommand } from './commands/detach.ts'
import { doctorCommand } from './commands/doctor.ts'
import { downCommand } from './commands/down.ts'
import { eventsCommand } from './commands/events.ts'
import { envCommand } from './commands/env.ts'
import { findCommand } from './commands/find.ts'
import { killCommand } from './commands/kill.ts'
import { logsCommand } from './commands/logs.ts'
import { meshCreateCommand } from './commands/mesh-create.ts'
import { meshInviteCommand } from './commands/mesh-invite.ts'
import { meshJoinCommand } from './commands/mesh-join.ts'
import { meshKeyCommand } from './commands/mesh-key.ts'
import { meshRemoveCommand, meshRestoreCommand } from './commands/mesh-remove.ts'
import { nodesCommand } from './commands/nodes.ts'
import { metricsCommand } from './commands/metrics.ts'
import { notYetCommands } from './commands/not-yet.ts'
import { psCommand } from './commands/ps.ts'
import { reloadCommand } from './commands/reload.ts'
import { restartCommand } from './commands/restart.ts'
import { runCommand } from './commands/run.ts'
import { runsCommand } from './commands/runs.ts'
import { scaleCommand } from './commands/scale.ts'
import { servicesCommand } from './commands/services.ts'
import { signalCommand } from './commands/signal.ts'
import { simCommand } from './commands/sim.ts'
import { startCommand } from './commands/start.ts'
import { stopCommand } from './commands/stop.ts'
import { topCommand } from './commands/top.ts'
import { upCommand } from './commands/up.ts'
import { upgradeCommand } from './commands/upgrade.ts'
import { versionCommand } from './commands/version.ts'
import { waitCommand } from './commands/wait.ts'
import { wakeCommand } from './commands/wake.ts'
import { whyCommand } from './commands/why.ts'
import { GLOBAL_OPTIONS, GROUPS } from './program.ts'

const NAMED: readonly Command[] = [
  upCommand,
  downCommand,
  reloadCommand,
  upgradeCommand,
  psCommand,
  describeCommand,
  envCommand,
  startCommand,
  stopCommand,
  restartCommand,
  killCommand,
  signalCommand,
  scaleCommand,
  waitCommand,
  wakeCommand,
  runCommand,
  runsCommand,
  findCommand,
  attachCommand,
  detachCommand,
  adoptCommand,
  logsCommand,
  eventsCommand,
  topCommand,
  metricsCommand,
  whyCommand,
  nodesCommand,
  servicesCommand,
  callCommand,
  callsCommand,
  meshCreateCommand,
  meshInviteCommand,
  meshJoinCommand,
  meshKeyCommand,
  meshRemoveCommand,
  meshRestoreCommand,
  configValidateCommand,
  configShowCommand,
  configSchemaCommand,
  simCommand,
  doctorCommand,
  versionCommand,
]

/** All that `hsu` can do, in the order of its help. */
export const COMMANDS: readonly Command[] = [
  ...NAMED,
  completionCommand(NAMED, GLOBAL_OPTIONS, GROUPS),
  ...notYetCommands,
]
