"""Who is next: start-time fair queueing, so that nobody's jobs wait behind the whole backlog of somebody else.

The score of a ready job is its virtual start time. The virtual clock reads the score at the head of the line; a
partition's jobs start one tick apart, from the clock or from where its last job ends (its finish tag), whichever is
later. With 99,500 jobs of A in line, five new ones of B stand at 2, 4, 6, 8 and 10, and A's keep their order.

    {namespace}:fair:<queue>:<band>   sorted set; member = partition key, score = finish tag

That is all there is to remember, and it may be lost: an empty line starts at 0 again, and a tag that the clock has
passed is dropped. It is a sorted set and not a hash, because then dropping costs one command however many there are.

P. Goyal, H. M. Vin, H. Cheng: "Start-time Fair Queueing" (SIGCOMM 1996), with jobs of equal cost.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Script:
    """A script for Redis, and the name by which it knows it once it has seen it."""

    text: str
    sha: str

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(text=text, sha=hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


ADD = Script.of("""
local ready, tags = KEYS[1], KEYS[2]
local waiting, head = redis.call('ZCARD', ready), 0
if waiting == 0 then
  redis.call('DEL', tags)
else
  head = tonumber(redis.call('ZRANGE', ready, 0, 0, 'WITHSCORES')[2])
end
local clock = math.ceil(head)
redis.call('ZREMRANGEBYSCORE', tags, '-inf', clock)
local ids, costs, which = ARGV[1], ARGV[2], ARGV[3]
local finish, added, back = {}, 0, 0
for _ in string.gmatch(costs, '0') do back = back + 1 end
for i = 1, #costs do
  local id, cost = string.sub(ids, 32 * i - 31, 32 * i), string.byte(costs, i) - 48
  local partition = ARGV[4 + tonumber(string.sub(which, 3 * i - 2, 3 * i))]
  local start
  if cost == 0 then
    start, back = head - back / 1048576, back - 1
  else
    local tag = finish[partition] or tonumber(redis.call('ZSCORE', tags, partition) or clock)
    start = math.max(clock, math.min(tag, clock + waiting))
  end
  if redis.call('ZADD', ready, 'NX', string.format('%.17g', start), id) == 1 then
    added, waiting = added + 1, waiting + 1
    if cost > 0 then finish[partition] = start + cost end
  end
end
for partition, tag in pairs(finish) do
  redis.call('ZADD', tags, string.format('%.17g', tag), partition)
end
return added
""")
"""Add jobs to a line. KEYS: the ready set and its finish tags. ARGV: the ids of up to a thousand jobs in a row, of 32
digits each; their costs, a digit each; the numbers of their partitions, three digits each; then partition 0, 1 and on.

A cost of 0 is a job that was in line before and was given back: it has paid its tick, and stands at the head again, a
millionth of a tick before the next one, so that such jobs keep their order and do not turn the clock, which counts
whole ticks. A job that is in line already stays where it is and costs nothing. No tag is believed that lies farther
ahead than the line is long: it was left by jobs that were cancelled. Returns how many were added.
"""
