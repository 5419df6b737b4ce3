// What stands around a configuration inside an engine: the globals that it may use, and the way
// in for the server. Taken here once, so that nothing a configuration does to its globals can
// change how it is asked.
((environment, log) => {
  const { parse, stringify } = JSON;
  const { keys } = Object;
  const text = String;
  const isFinite = Number.isFinite;
  let config;
  let rules = [];

  globalThis.defineConfig = (given) => given;
  globalThis.process = { env: parse(environment) };
  const say = (...values) => {
    log(values.map((value) => {
      try {
        return typeof value === 'object' ? stringify(value) : text(value);
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

  // JSON knows no functions and no infinity. The reader of this text does not either, and names
  // what it finds as it was written.
  const writable = (_, value) => {
    if (typeof value === 'function') return '\u0000function';
    if (typeof value === 'bigint') return `\u0000${value}n`;
    if (typeof value === 'number' && !isFinite(value)) return `\u0000${value}`;
    return value;
  };

  return {
    accept(given) {
      config = given;
    },
    describe() {
      if (typeof config !== 'object' || config === null) return stringify(config, writable);
      const { realtime } = config;
      return stringify({ keys: keys(config), realtime }, writable);
    },
    bind(patterns) {
      rules = parse(patterns).map((pattern) => config.realtime.namespaces[pattern].access);
    },
    subscribe: (rule, channel, claims) => rules[rule].subscribe(identity(claims), channel),
    track: (rule, channel, claims) => rules[rule].track(identity(claims), channel),
  };
})
