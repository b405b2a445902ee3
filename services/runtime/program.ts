/**
 * program — what a run executes, as one short text: its automation, the automations it calls, and the configuration these speak of. Two
 * revisions with the same program lead a run the same way, so what it had completed under one is true under the other (`retry`, open.ts).
 *
 * Not part of it: names, descriptions and triggers, which change nothing a run does; and secrets, which are how it is let in, not what it
 * does: a run that failed for an expired password must not pay again what it had paid before.
 */
import { createHash } from 'node:crypto';
import { isPlainObject, type JsonObject } from '../../mixins/shared/json.ts';
import { ANY_AUTOMATION, type CompiledAutomation, type RunModel } from './interpreter/index.ts';
import { childrenOf } from './models.ts';
import { automationAt, prefixed } from './triggers.ts';

interface Place {
  model: RunModel;
  /** Where the app is installed; none: the workspace itself. */
  parent?: Place;
  slug: string;
}

interface Known {
  places: Map<RunModel, Place>;
  programs: Map<string, string>;
}

const known = new WeakMap<RunModel, Known>();
const DESCRIPTIVE = new Set(['name', 'description', 'labels', 'when']);
const ASKS_PARENT = /\{\{\s*config\b/;

function placesIn(place: Place, places = new Map<RunModel, Place>()): Map<RunModel, Place> {
  places.set(place.model, place);
  for (const slug of childrenOf(place.model)) {
    const model = place.model.child(slug);
    if (model) placesIn({ model, parent: place, slug }, places);
  }
  return places;
}

/** Configuration as it is written. An app instance has that of its app below its own, and may ask for that of where it is installed. */
function configText({ model, parent, slug }: Place): string {
  const own = model.workspace.source.config?.value ?? {};
  if (!parent) return JSON.stringify(own);
  const { config, appSlug, appVersion } = (parent.model.workspace.source.imports?.[slug] ?? {}) as JsonObject;
  const text = JSON.stringify([own, config, appSlug, appVersion]);
  return ASKS_PARENT.test(text) ? text + configText(parent) : text;
}

function sourceText(model: RunModel, slug: string): string {
  const source = model.workspace.source.automations[slug];
  return JSON.stringify(isPlainObject(source) ? Object.entries(source).filter(([field]) => !DESCRIPTIVE.has(field)) : null);
}

function programIn({ places }: Known, root: RunModel, automation: string): string {
  /** By full slug. */
  const reached = new Map<string, string>();
  const configured = new Map<string, string>();
  const visit = (model: RunModel, { slug, calls = [] }: CompiledAutomation): void => {
    const name = prefixed(model.instance, slug);
    if (reached.has(name)) return;
    const text = sourceText(model, slug);
    reached.set(name, text);
    const place = places.get(model);
    if (place && text.includes('config')) configured.set(model.instance, configText(place));
    for (const called of calls) called === ANY_AUTOMATION ? visitAll(model) : visitNamed(model, called);
  };
  const visitNamed = (model: RunModel, called: string): void => {
    const match = automationAt(model, called);
    if (match) visit(match.model, match.automation);
  };
  const visitAll = (model: RunModel): void => {
    for (const slug of model.workspace.automations.keys()) visitNamed(model, slug);
    for (const child of childrenOf(model))
      for (const slug of model.child(child)?.workspace.automations.keys() ?? []) visitNamed(model, prefixed(child, slug));
  };
  visitNamed(root, automation);
  return createHash('sha256')
    .update(JSON.stringify([[...reached].sort(), [...configured].sort()]))
    .digest('hex')
    .slice(0, 16);
}

/** Made once per model and automation. @param automation full slug */
export function programOf(root: RunModel, automation: string): string {
  let here = known.get(root);
  if (!here) {
    here = { places: placesIn({ model: root, slug: '' }), programs: new Map() };
    known.set(root, here);
  }
  let program = here.programs.get(automation);
  if (program === undefined) {
    program = programIn(here, root, automation);
    here.programs.set(automation, program);
  }
  return program;
}
