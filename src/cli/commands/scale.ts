import type { Command } from '../command.ts'
import { parseCount, splitPair } from '../options.ts'
import { parseUnitName } from '../target.ts'
import { actOn, INSTANCES_JSON, type UnitCall } from '../unit-action.ts'

export const scaleCommand: Command = {
  name: 'scale',
  summary: 'change the number of replicas of units',
  args: [{ name: 'unit=n', summary: 'UNIT=N, or UNIT@NODE=N for a certain node', required: true, many: true }],
  options: [],
  json: INSTANCES_JSON,
  examples: ['hsu scale echo=3', 'hsu scale echo@edge-b=0'],

  async run({ args }, context) {
    const wanted = args.map((arg) => {
      const [name, replicas] = splitPair(arg, 'scale')
      return { name: parseUnitName(name, context.global.node), replicas: parseCount(replicas, arg) }
    })
    for (const { name, replicas } of wanted) {
      const call: UnitCall = (client, unit, options) => client.scaleUnit({ unit, replicas }, options)
      await actOn([name], call, context)
    }
    return undefined
  },
}
