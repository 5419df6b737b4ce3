// What stands around a configuration inside an engine: the globals that it may use, and the way in
// for the server. Runs before any code of the configuration; after it, the globals are frozen.
((environment, log) => {
  const { parse, stringify } = JSON;
  let calls = [];
  let copy;
  let rules = [];

  globalThis.defineConfig = (given) => {
    // The error knows where this is called.
    calls?.push({
      given,
      error: new Error(
        '`defineConfig` was given a configuration that is not the default export, and so has no ' +
          'effect; export what `defineConfig` returns, or do not call it',
      ),
    });
    return given;
  };
  globalThis.process = { env: parse(environment) };
  const say = (...values) => {
    log(values.map((value) => {
      try {
        return typeof value === 'object' ? stringify(value) : String(value);
      } catch {
        return '?';
      }
    }).join(' '));
  };
  globalThis.console = { debug: say, error: say, info: say, log: say, warn: say };

  const identity = (claims) => {
    if (claims === undefined) return null;
    const all = parse(claims);
    return {
      id: all.sub,
      role: all.role,
      email: all.email,
      isAnonymous: all.isAnonymous === true,
      custom: all.custom ?? {},
      claims: all,
    };
  };

  // What stands beside the default export is easily taken for a part of it.
  const checkNamed = (exported, reader) => {
    for (const name of ['realtime', 'namespaces']) {
      if (typeof exported[name] === 'object' && !reader.hasRead(exported[name])) {
        throw new Error(
          `the export \`${name}\` has no effect; make it a part of the default export, as in ` +
            '`export default defineConfig({ realtime: { namespaces } })`',
        );
      }
    }
  };

  return (reader) => ({
    // `exported`: what the module exports; `config`: its default, after a Promise was waited for.
    accept(exported, config) {
      for (const { given, error } of calls) {
        if (given !== exported.default && given !== config) throw error;
      }
      calls = undefined;
      copy = reader.read(config);
      checkNamed(exported, reader);
    },
    describe: () => reader.write(copy),
    // `expected`: for each namespace its key and which rules it had when the server read it. A
    // configuration that is another one each time must not be asked with the rights of the first.
    bind(expected) {
      rules = parse(expected).map(([key, ...names]) => {
        const access = copy?.realtime?.namespaces?.[key]?.access ?? {};
        for (const name of ['subscribe', 'track']) {
          if ((typeof access[name] === 'function') !== names.includes(name)) {
            throw new Error(`the rules of \`${key}\` are others each time that the file is evaluated`);
          }
        }
        return access;
      });
    },
    subscribe: (rule, channel, claims) => rules[rule].subscribe(identity(claims), channel),
    track: (rule, channel, claims) => rules[rule].track(identity(claims), channel),
  });
})
