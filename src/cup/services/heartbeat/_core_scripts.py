"""What runs on a Redis or Valkey server for several monitors: each script as a whole.

The server keeps, under names in one slot of a cluster:

| key    |                                                                           |
|--------|---------------------------------------------------------------------------|
| meta   | the clock, the number of the last event, what is held back               |
| due    | who is alive, by when it will be lost                                     |
| info   | of each: state, order, last beat, time-out, address                       |
| gone   | who is lost or has left, by since when                                    |
| events | the last events, a stream whose ids are their numbers                     |

The clock is one of its own: it goes on with that of the server, but never back, and it
stands still over a gap in which no monitor called. After a gap silence counts anew. So
neither a clock that is set, nor a server or all monitors that were stopped, kills
anybody.

An order is text: incarnation and sequence, 20 digits each, since Lua's numbers do not
hold 64 bits.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BEATS", "LEAVE", "SNAPSHOT", "TICK"]

_COMMON: Final = """
local meta, due, info, gone, events = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local t = redis.call('TIME')
local wall = t[1] * 1000 + math.floor(t[2] / 1000)
local m = redis.call('HMGET', meta, 'clock', 'seen', 'number', 'epoch', 'life')
local clock, number = tonumber(m[1]) or 0, tonumber(m[3]) or 0
local epoch, life = tonumber(m[4]) or 0, m[5] or ARGV[1]
local gap, most, keep = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local passed = wall - (tonumber(m[2]) or wall)
if passed > gap then
  epoch = clock
elseif passed > 0 then
  clock = clock + passed
end
local function save()
  redis.call('HSET', meta, 'clock', clock, 'seen', wall, 'number', number,
    'epoch', epoch, 'life', life)
end
local function tell(kind, key, silent, order, address)
  number = number + 1
  redis.call('XADD', events, 'MAXLEN', '~', keep, string.format('%.0f-0', number),
    'kind', kind, 'key', key, 'wall', wall, 'silent', silent,
    'life', string.sub(order, 1, 20), 'address', address)
end
local function read(text)
  return string.sub(text, 1, 1), string.sub(text, 2, 41),
    tonumber(string.sub(text, 42, 56)), tonumber(string.sub(text, 57, 68)),
    string.sub(text, 69)
end
local function write(key, state, order, stamp, timeout, address)
  redis.call('HSET', info, key,
    state .. order .. string.format('%015.0f%012.0f', stamp, timeout) .. address)
end
"""

BEATS: Final = (
    _COMMON
    + """
local beats, keys = cjson.decode(ARGV[5]), {}
for i = 1, #beats, 4 do keys[#keys + 1] = beats[i] end
local texts = redis.call('HMGET', info, unpack(keys))
local room = most - redis.call('ZCARD', due)
local refused, stale, never = 0, 0, string.rep('0', 40)
local dues, infos = {}, {}
for n = 1, #keys do
  local key, order, timeout = keys[n], beats[4 * n - 2], beats[4 * n - 1]
  local address, text = beats[4 * n], texts[n]
  local state, old = 'g', never
  if text then state, old = string.sub(text, 1, 1), string.sub(text, 2, 41) end
  if order ~= '' and order <= old then
    stale = stale + 1
  elseif state ~= 'a' and room <= 0 then
    refused = refused + 1
  else
    local reborn = order ~= '' and state ~= 'g'
      and string.sub(order, 1, 20) > string.sub(old, 1, 20)
    if order == '' then order = old end
    local silent = 0
    if reborn or state == 'l' then
      local _, _, stamp = read(text)
      silent = clock - stamp
    end
    if state == 'g' then
      tell('joined', key, 0, order, address)
    elseif state == 'l' then
      tell('recovered', key, silent, order, address)
    end
    if state ~= 'a' then
      room = room - 1
      redis.call('ZREM', gone, key)
    end
    if reborn then tell('restarted', key, silent, order, address) end
    dues[#dues + 1] = clock + timeout
    dues[#dues + 1] = key
    infos[#infos + 1] = key
    infos[#infos + 1] = 'a' .. order
      .. string.format('%015.0f%012.0f', clock, timeout) .. address
  end
end
if #dues > 0 then
  redis.call('ZADD', due, unpack(dues))
  redis.call('HSET', info, unpack(infos))
end
save()
return {life, number, stale, refused}
"""
)
"""Beats, as JSON: key, order (empty for "now"), time-out, address of each."""

LEAVE: Final = (
    _COMMON
    + """
local key, order = ARGV[5], ARGV[6]
local text = redis.call('HGET', info, key)
local left = 0
if text then
  local state, old, stamp, timeout, address = read(text)
  if state ~= 'g' and (order == '' or order > old) then
    if order == '' then order = old end
    redis.call('ZREM', due, key)
    redis.call('ZADD', gone, clock, key)
    write(key, 'g', order, stamp, timeout, address)
    tell('left', key, clock - stamp, order, address)
    left = 1
  end
end
save()
return {life, number, left}
"""
)
"""A farewell: key and order. Its order stays for a while: older packets do nothing."""

TICK: Final = (
    _COMMON
    + """
local after, count = tonumber(ARGV[5]), tonumber(ARGV[6])
local usual, share = tonumber(ARGV[7]), tonumber(ARGV[8])
local least, patience, kept = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
if ARGV[12] == '1' then epoch = clock end

local silent = redis.call('ZRANGEBYSCORE', due, '-inf', clock, 'LIMIT', 0, 500)
local hold = tonumber(redis.call('HGET', meta, 'hold') or '')
if #silent > 0 or hold then
  local alive, late = redis.call('ZCARD', due), 0
  if clock - epoch >= usual / 2 then
    late = redis.call('ZCOUNT', due, '-inf', clock + usual / 2)
  end
  local many, limit = late > share * alive, 500
  if not hold then
    if many and alive >= least then
      hold, limit = clock, 0
      redis.call('HSET', meta, 'hold', clock)
    end
  elseif not many then
    hold, limit, epoch = nil, 0, clock
    redis.call('HDEL', meta, 'hold')
  elseif clock - hold < patience then
    limit = 0
  else
    limit = math.ceil(alive / 20)
  end
  for i = 1, math.min(limit, #silent) do
    local key = silent[i]
    local _, order, stamp, timeout, address = read(redis.call('HGET', info, key))
    if clock < epoch + timeout then
      redis.call('ZADD', due, epoch + timeout, key)
    else
      redis.call('ZREM', due, key)
      redis.call('ZADD', gone, clock, key)
      write(key, 'l', order, stamp, timeout, address)
      tell('lost', key, clock - stamp, order, address)
    end
  end
end

local old = redis.call('ZRANGEBYSCORE', gone, '-inf', clock - kept, 'LIMIT', 0, 100)
for _, key in ipairs(old) do
  redis.call('ZREM', gone, key)
  redis.call('HDEL', info, key)
end
save()

local answer = {life, number, hold and 1 or 0, redis.call('ZCARD', due),
  redis.call('ZCARD', gone)}
if after >= 0 and after < number then
  local from = string.format('(%.0f-0', after)
  for _, entry in ipairs(redis.call('XRANGE', events, from, '+', 'COUNT', count)) do
    local fields = entry[2]
    table.insert(answer, (string.gsub(entry[1], '-0$', '')))
    for i = 2, #fields, 2 do table.insert(answer, fields[i]) end
  end
end
return answer
"""
)
"""A look for losses, and the events after a number: seven fields each."""

SNAPSHOT: Final = (
    _COMMON
    + """
save()
local answer = {life, number, wall, clock}
local all = redis.call('HGETALL', info)
for i = 1, #all, 2 do
  local state, order, stamp, timeout, address = read(all[i + 1])
  if state ~= 'g' then
    for _, value in ipairs({all[i], state, clock - stamp, timeout,
        string.sub(order, 1, 20), address}) do
      table.insert(answer, value)
    end
  end
end
return answer
"""
)
"""All devices: six fields each."""
