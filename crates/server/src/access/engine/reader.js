// Reads what a configuration is, once, into a copy that nothing of the configuration can change:
// every property counts, wherever it hides (getters, methods of classes, symbols, keys that are
// not enumerable). What cannot be read for certain is described, so that the server refuses it.
// Bounded in depth and in properties; the engine bounds time and memory.
((isProxy, isPromise) => {
  const { apply, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;
  // Deeper than anything that the server understands.
  const MAX_DEPTH = 8;
  const MAX_PROPERTIES = 65536;
  let properties = 0;
  const objects = new Set();

  // A value that is nothing the server understands, in words.
  class Odd {
    constructor(words) {
      this.words = words;
    }
  }

  // The prototypes of the language, and what their objects are called.
  const builtIn = new Map();
  for (const name of ownKeys(globalThis)) {
    const prototype = globalThis[name]?.prototype;
    if (typeof prototype === 'object' && prototype !== Object.prototype) builtIn.set(prototype, name);
  }
  const generators = [getPrototypeOf(function* () {}), getPrototypeOf(async function* () {})];

  const count = () => {
    properties += 1;
    if (properties > MAX_PROPERTIES) {
      throw new RangeError(`the configuration has more than ${MAX_PROPERTIES} properties`);
    }
  };

  // Why an object cannot be read, if it cannot.
  const oddity = (value) => {
    if (isProxy(value)) return new Odd('a Proxy, which may answer anything; write an object');
    if (isPromise(value)) return new Odd('a Promise; write `await` before it');
    return undefined;
  };

  // All properties of an object and of the classes that it is made of, the nearest first: name to
  // value. Freezes what it reads: a rule keeps nothing there from one user to the next.
  const propertiesOf = (object, valueOf) => {
    const found = { __proto__: null };
    for (let at = object; at !== null && at !== Object.prototype; at = getPrototypeOf(at)) {
      count();
      if (isProxy(at)) return new Odd('an object with a Proxy for its prototype; write an object');
      if (builtIn.has(at)) return new Odd(`an object of the kind ${builtIn.get(at)}; write a plain object`);
      for (const key of ownKeys(at)) {
        const name = typeof key === 'symbol' ? `\u0000${String(key)}` : key.toWellFormed();
        if (key === Symbol.toStringTag || name in found) continue;
        const property = getOwnPropertyDescriptor(at, key);
        if (at !== object && key === 'constructor' && property.value?.prototype === at) {
          freeze(property.value);
          continue;
        }
        count();
        found[name] = valueOf(name, property, object);
      }
      freeze(at);
    }
    return found;
  };

  const freeze = (object) => {
    try {
      Object.freeze(object);
    } catch {
      // What `import * as` gives cannot be frozen, and not be changed either.
    }
  };

  const held = (property, object) => {
    if ('value' in property) return property.value;
    return property.get === undefined ? undefined : apply(property.get, object, []);
  };

  const readFunction = (value, owner) => {
    if (!isProxy(value)) {
      const source = apply(Function.prototype.toString, value, []);
      if (source.startsWith('class')) return new Odd('a class; write a function');
      if (generators.includes(getPrototypeOf(value))) {
        return new Odd('a generator, which returns no answer; write a function without `*`');
      }
    }
    freeze(value);
    return apply(Function.prototype.bind, value, [owner]);
  };

  const read = (value, owner, depth) => {
    if (typeof value === 'function') return readFunction(value, owner);
    if (typeof value !== 'object' || value === null) return value;
    const odd = oddity(value);
    if (odd !== undefined) return odd;
    objects.add(value);
    if (depth === MAX_DEPTH) return new Odd('an object that is nested too deep');
    if (!Array.isArray(value)) {
      return propertiesOf(value, (_, property, object) => read(held(property, object), object, depth + 1));
    }
    const list = [];
    for (let at = 0; at < value.length; at += 1) {
      count();
      list.push(read(value[at], value, depth + 1));
    }
    freeze(value);
    return list;
  };

  // A configuration: the names of its keys, and what stands under `realtime`.
  const readConfig = (config) => {
    if (typeof config === 'function') return new Odd('a function; call it, and export what it returns');
    if (typeof config !== 'object' || config === null) return config;
    const odd = oddity(config);
    if (odd !== undefined) return odd;
    if (Array.isArray(config)) return [];
    const found = propertiesOf(config, (name, property, object) =>
      name === 'realtime' ? read(held(property, object), object, 1) : undefined,
    );
    if (found instanceof Odd) return found;
    const keys = Object.keys(found);
    return keys.includes('realtime') ? { keys, realtime: found.realtime } : { keys };
  };

  // JSON knows no functions and no infinity. The reader of this text takes a string that begins
  // with a NUL for words about such a value; no setting is such a string.
  const inWords = (value) => {
    if (value instanceof Odd) return `\u0000${value.words}`;
    switch (typeof value) {
      case 'function':
        return '\u0000a function';
      case 'undefined':
        return '\u0000undefined';
      case 'symbol':
        return '\u0000a Symbol';
      case 'bigint':
        return `\u0000${value}n`;
      case 'number':
        return Number.isFinite(value) ? value : `\u0000${value}`;
      case 'string':
        return value.startsWith('\u0000') ? '\u0000a text that begins with U+0000' : value.toWellFormed();
      default:
        return value;
    }
  };

  // `JSON.stringify` of an object would call a function `toJSON` that was read.
  const write = (value) => {
    if (Array.isArray(value)) return `[${value.map(write).join()}]`;
    if (typeof value !== 'object' || value === null || value instanceof Odd) {
      return JSON.stringify(inWords(value));
    }
    const members = Object.keys(value).map((key) => `${JSON.stringify(key)}:${write(value[key])}`);
    return `{${members.join()}}`;
  };

  return {
    read: readConfig,
    hasRead: (object) => objects.has(object),
    write,
  };
})
