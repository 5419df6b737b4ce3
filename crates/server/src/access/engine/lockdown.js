// Takes away what one call of a rule could leave behind for the next one, which another user's
// question causes: the globals and everything that the language itself brings are frozen. Runs
// before any code of a configuration, so nothing of what it finds is the configuration's.
(() => {
  const { defineProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect;

  // Assigning to this key replaces a prototype: a claim of that name would do so in a copy.
  delete Object.prototype.__proto__;
  // `(0, eval)('let x')` declares a global that no freezing reaches.
  delete globalThis.eval;

  // In a frozen prototype a property cannot be assigned to, and neither can it in the objects that
  // inherit it: `this.name = 'MyError'` would throw. What code commonly assigns becomes an
  // accessor that defines the property in the object itself.
  const allowOverrides = (prototype, key) => {
    const property = getOwnPropertyDescriptor(prototype, key);
    if (property === undefined || !('value' in property) || !property.writable) return;
    const { value, enumerable } = property;
    const get = () => value;
    const set = function (given) {
      if (this === prototype) throw new TypeError(`${key} is read-only`);
      const own = { value: given, writable: true, enumerable: true, configurable: true };
      if (!defineProperty(this, key, own)) throw new TypeError(`${key} is read-only`);
    };
    defineProperty(prototype, key, { get, set, enumerable, configurable: true });
  };
  for (const key of ownKeys(Object.prototype)) {
    if (typeof key === 'string') allowOverrides(Object.prototype, key);
  }
  for (const name of ownKeys(globalThis)) {
    const { prototype } = globalThis[name] ?? {};
    if (prototype !== undefined && (prototype === Error.prototype || prototype instanceof Error)) {
      for (const key of ['name', 'message', 'toString', 'constructor']) allowOverrides(prototype, key);
    }
  }

  // A setter of the language itself, such as the one of `Error.prepareStackTrace`, keeps its value
  // outside the object, where freezing does not reach. Those of prototypes write to the receiver.
  const seal = (object, key, property) => {
    if (property.set === undefined) return;
    if (typeof object !== 'function' && object !== globalThis) return;
    defineProperty(object, key, { get: property.get, set: undefined });
  };

  const { freeze } = Object;
  const seen = new Set();
  const waiting = [
    globalThis,
    function* () {},
    async () => {},
    async function* () {},
    [][Symbol.iterator](),
    ''[Symbol.iterator](),
    new Map()[Symbol.iterator](),
    new Set()[Symbol.iterator](),
    'a'.matchAll(/a/g),
    [].values().map((item) => item),
    Iterator.from({ next() {} }),
  ];
  const visit = (value) => {
    if (typeof value === 'function') {
      // Most of all there is: a method, which has a name and a length and nothing to walk to.
      if (ownKeys(value).length <= 2) {
        freeze(value);
        return;
      }
    } else if (typeof value !== 'object' || value === null) {
      return;
    }
    if (!seen.has(value)) {
      seen.add(value);
      waiting.push(value);
    }
  };
  while (waiting.length > 0) {
    const object = waiting.pop();
    visit(getPrototypeOf(object));
    for (const key of ownKeys(object)) {
      const property = getOwnPropertyDescriptor(object, key);
      if ('value' in property) {
        visit(property.value);
      } else {
        seal(object, key, property);
        if (property.get !== undefined) visit(property.get);
        if (property.set !== undefined) visit(property.set);
      }
    }
    freeze(object);
  }
})
