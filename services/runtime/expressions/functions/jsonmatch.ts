/** jsonmatch */
import { defineFunction, refuse } from '../function.ts';
import { matchesQuery } from './query.ts';

export const jsonmatch = defineFunction({
  name: 'jsonmatch',
  signature: 'jsonmatch(object: object, condition: object): boolean',
  summary:
    'Whether an object fulfils a Mongo-style condition ($eq $ne $gt $gte $lt $lte $in $nin $all $exists $regex $size $not $and $or $nor $elemMatch; dotted paths).',
  examples: [
    ['jsonmatch({a: {b: 2}}, {"a.b": {"$gt": 1}})', true],
    ['jsonmatch({tags: ["x", "y"]}, {tags: "y"})', true],
    ['jsonmatch("text", {a: 1})', false],
    ['jsonmatch({a: 1}, "a")', Error],
  ],
  arity: [2, 2],
  apply([object, condition], env) {
    if (typeof condition !== 'object' || condition === null || Array.isArray(condition))
      refuse(jsonmatch, 'the condition must be an object');
    if (typeof object !== 'object' || object === null) return false;
    return matchesQuery(object, condition as Record<string, unknown>, (steps = 1) => env.charge(steps));
  },
});
