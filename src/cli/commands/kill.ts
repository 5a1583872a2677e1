import { unitAction } from '../unit-action.ts'

export const killCommand = unitAction({
  name: 'kill',
  summary: 'end units by force, at once; their restart policy then applies',
  call: (client, unit, options) => client.killUnit({ unit }, options),
})
