import { unitAction } from '../unit-action.ts'

export const restartCommand = unitAction({
  name: 'restart',
  summary: 'stop units and start them again',
  call: (client, unit, options) => client.restartUnit({ unit }, options),
})
