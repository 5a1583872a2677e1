import { unitAction } from '../unit-action.ts'

export const startCommand = unitAction({
  name: 'start',
  summary: 'start units; does nothing to those that run',
  description: 'Returns when the unit is on its way. `hsu wait UNIT --for ready` waits until it can be used.',
  call: (client, unit, options) => client.startUnit({ unit }, options),
})
