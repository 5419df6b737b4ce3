//! One JavaScript engine with one configuration in it. Knows how to ask a rule and what may become
//! of that: every bound on time, memory and depth is kept here. Knows no channels and no users, and
//! lives on one thread.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rquickjs::function::IntoArgs;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{
    CaughtError, Context, Ctx, FromJs, Function, Module, Object, Persistent, Promise, Runtime,
    Value,
};

use super::outcome::{Failure, MEMORY_BYTES, Outcome, shortened};
use super::program::Program;
use crate::typescript::Place;

/// See the module.
pub(super) struct Engine {
    // They have to go before the runtime that they live in: fields are dropped in this order.
    prelude: PreludeFunctions,
    context: Context,
    runtime: Runtime,
    program: Arc<Program>,
    watch: Rc<Watch>,
    calls: u32,
    is_spent: bool,
}

/// A question to one rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call<'a> {
    /// Which namespace's, by its place in what [`Engine::bind`] was given.
    pub(super) rule: usize,
    /// Which of its functions.
    pub(super) function: RuleFunction,
    /// The channel in its canonical form.
    pub(super) channel: &'a str,
    /// The token's payload, where there is one.
    pub(super) claims: Option<&'a str>,
}

/// The functions that a namespace may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleFunction {
    Subscribe,
    Track,
}

/// What one call may take, its promise included.
pub const RULE_TIME: Duration = Duration::from_millis(50);
/// What a configuration may take to be evaluated.
pub const START_TIME: Duration = Duration::from_millis(1000);
/// What calls may stack up, in bytes of the thread's own stack.
const STACK_BYTES: usize = 512 * 1024;
/// The stack of a thread that an engine runs on.
pub(super) const THREAD_STACK_BYTES: usize = 2 * 1024 * 1024;

/// How often an engine is looked at for memory that its configuration keeps.
const CALLS_PER_CHECKUP: u32 = 4096;

/// The functions of the prelude.
struct PreludeFunctions {
    describe: Persistent<Function<'static>>,
    bind: Persistent<Function<'static>>,
    subscribe: Persistent<Function<'static>>,
    track: Persistent<Function<'static>>,
}

impl Engine {
    /// Makes an engine and evaluates the configuration in it.
    pub(super) fn start(program: Arc<Program>) -> Result<Self, Failure> {
        let watch = Rc::new(Watch::default());
        let interrupt = watch.clone();
        let runtime = Runtime::new().map_err(|_| Failure::TooMuchMemory)?;
        runtime.set_memory_limit(MEMORY_BYTES);
        runtime.set_max_stack_size(STACK_BYTES);
        runtime.set_interrupt_handler(Some(Box::new(move || interrupt.is_over())));
        runtime.set_loader(Modules(program.clone()), Modules(program.clone()));
        let context = Context::full(&runtime).map_err(|_| Failure::TooMuchMemory)?;
        watch.start(START_TIME);
        let prelude = context.with(|ctx| {
            evaluate(&ctx, &program, &watch).map_err(|error| failure(&ctx, error, &program, &watch))
        })?;
        Ok(Self { prelude, context, runtime, program, watch, calls: 0, is_spent: false })
    }

    /// The configuration as JSON: `{"keys": […], "realtime": …}`, where a string that begins with a
    /// NUL describes what JSON cannot write. If it is no object, that value.
    pub(super) fn describe(&self) -> Result<String, Failure> {
        self.enter(START_TIME, &self.prelude.describe, ())
    }

    /// Fixes by which number each namespace is asked: its key and the rules that it was read with.
    /// Fails if the file, evaluated again, has others.
    pub(super) fn bind(&self, namespaces: &[(&str, &[RuleFunction])]) -> Result<(), Failure> {
        let rows = namespaces.iter().map(|(key, rules)| {
            let names = rules.iter().map(|rule| rule.name());
            std::iter::once(*key).chain(names).collect::<serde_json::Value>()
        });
        let rows = rows.collect::<serde_json::Value>().to_string();
        self.enter(START_TIME, &self.prelude.bind, (rows,))
    }

    /// Asks a rule.
    pub(super) fn call(&mut self, call: Call) -> Outcome {
        let door = match call.function {
            RuleFunction::Subscribe => &self.prelude.subscribe,
            RuleFunction::Track => &self.prelude.track,
        };
        self.watch.start(RULE_TIME);
        let outcome = self.context.with(|ctx| {
            let said = ask(&ctx, door, call, &self.watch);
            said.unwrap_or_else(|error| {
                Outcome::Failed(failure(&ctx, error, &self.program, &self.watch))
            })
        });
        self.calls += 1;
        self.is_spent = match &outcome {
            Outcome::Failed(failure) => !matches!(failure, Failure::Threw { .. }),
            _ => self.calls.is_multiple_of(CALLS_PER_CHECKUP) && self.holds_too_much(),
        };
        outcome
    }

    /// Whether a new engine should take this one's place: it was interrupted somewhere, or its
    /// configuration keeps more and more.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }

    fn holds_too_much(&self) -> bool {
        let holds = || self.runtime.memory_usage().malloc_size.unsigned_abs() as usize;
        if holds() < MEMORY_BYTES / 2 {
            return false;
        }
        self.runtime.run_gc();
        holds() >= MEMORY_BYTES / 2
    }

    fn enter<T>(
        &self,
        time: Duration,
        door: &Persistent<Function<'static>>,
        args: impl for<'js> IntoArgs<'js>,
    ) -> Result<T, Failure>
    where
        T: for<'js> FromJs<'js>,
    {
        self.watch.start(time);
        self.context.with(|ctx| {
            let said = door.clone().restore(&ctx).and_then(|door| door.call(args));
            said.map_err(|error| failure(&ctx, error.into(), &self.program, &self.watch))
        })
    }
}

/// What went wrong inside an engine.
enum Fault {
    Js(rquickjs::Error),
    NeverSettles,
    NoDefaultExport,
}

fn evaluate(ctx: &Ctx, program: &Program, watch: &Watch) -> Result<PreludeFunctions, Fault> {
    let log = Function::new(ctx.clone(), |text: String| {
        tracing::debug!(said = shortened(&text), "the configuration says");
    })?;
    let prelude: Function = ctx.eval(include_str!("engine/prelude.js"))?;
    let make_functions: Function = prelude.call((program.environment.as_str(), log))?;
    ctx.eval::<Function, _>(include_str!("engine/lockdown.js"))?.call::<_, ()>(())?;
    let make_reader: Function = ctx.eval(include_str!("engine/reader.js"))?;
    let is_proxy = Function::new(ctx.clone(), |value: Value| value.is_proxy())?;
    let is_promise = Function::new(ctx.clone(), |value: Value| value.is_promise())?;
    let reader: Object = make_reader.call((is_proxy, is_promise))?;
    let functions: Object = make_functions.call((reader,))?;
    let code = program.code(program.entry()).unwrap_or_default();
    let module = Module::declare(ctx.clone(), program.entry(), code)?;
    let (module, evaluated) = module.eval()?;
    settle(ctx, &evaluated, watch)?;
    let exports = module.namespace()?;
    if !exports.contains_key("default")? {
        return Err(Fault::NoDefaultExport);
    }
    let mut config: Value = exports.get("default")?;
    if let Some(promise) = config.as_promise() {
        config = settle(ctx, promise, watch)?;
    }
    functions.get::<_, Function>("accept")?.call::<_, ()>((exports, config))?;
    let door = |name: &str| -> rquickjs::Result<_> {
        Ok(Persistent::save(ctx, functions.get::<_, Function>(name)?))
    };
    Ok(PreludeFunctions {
        describe: door("describe")?,
        bind: door("bind")?,
        subscribe: door("subscribe")?,
        track: door("track")?,
    })
}

fn ask(
    ctx: &Ctx,
    door: &Persistent<Function<'static>>,
    call: Call,
    watch: &Watch,
) -> Result<Outcome, Fault> {
    let door = door.clone().restore(ctx)?;
    let said: Value = match call.claims {
        Some(claims) => door.call((call.rule, call.channel, claims))?,
        None => door.call((call.rule, call.channel))?,
    };
    let said = match said.as_promise() {
        Some(promise) => settle(ctx, promise, watch)?,
        None => {
            // What a rule begins and does not wait for is its time as well.
            run_jobs(ctx, watch)?;
            said
        }
    };
    Ok(match said.as_bool() {
        Some(true) => Outcome::Granted,
        Some(false) => Outcome::Denied,
        None => Outcome::NotABoolean(described(&said)),
    })
}

/// Runs everything that waits, and then has the promise's value.
fn settle<'js>(ctx: &Ctx<'js>, promise: &Promise<'js>, watch: &Watch) -> Result<Value<'js>, Fault> {
    run_jobs(ctx, watch)?;
    match promise.result() {
        Some(result) => Ok(result?),
        None => Err(Fault::NeverSettles),
    }
}

fn run_jobs(ctx: &Ctx, watch: &Watch) -> Result<(), Fault> {
    while ctx.execute_pending_job() {
        // An interrupted job is over like any other; the next one would begin where time is up.
        if watch.is_over() {
            return Err(Fault::Js(rquickjs::Error::Unknown));
        }
    }
    Ok(())
}

/// Reading an error runs code too, if a configuration wants that: time still counts.
fn failure(ctx: &Ctx, fault: Fault, program: &Program, watch: &Watch) -> Failure {
    let error = match fault {
        Fault::Js(error) => error,
        Fault::NeverSettles => return Failure::NeverSettles,
        Fault::NoDefaultExport => return threw(NO_DEFAULT_EXPORT),
    };
    let failure = match CaughtError::from_error(ctx, error) {
        CaughtError::Exception(exception) => {
            let message = exception.message().unwrap_or_default();
            let kind = exception.as_object().get::<_, String>("name").unwrap_or_default();
            let stack = exception.stack().unwrap_or_default();
            match message.as_str() {
                OUT_OF_MEMORY => Failure::TooMuchMemory,
                TOO_DEEP => Failure::TooDeep,
                _ => Failure::Threw {
                    message: shortened(&format!("{kind}: {message}")),
                    place: place(&stack, program),
                },
            }
        }
        // Thrown where not even an error could be made.
        CaughtError::Value(value) if value.is_null() => Failure::TooMuchMemory,
        CaughtError::Value(value) => match value.as_string().map(|text| text.to_string()) {
            Some(Ok(text)) => threw(&shortened(&text)),
            _ => threw(&described(&value)),
        },
        CaughtError::Error(rquickjs::Error::Allocation) => Failure::TooMuchMemory,
        CaughtError::Error(error) => threw(&shortened(&error.to_string())),
    };
    match failure {
        Failure::Threw { place, .. } if watch.is_over() => Failure::TooSlow { place },
        _ if watch.is_over() => Failure::TooSlow { place: None },
        failure => failure,
    }
}

/// As the engine words them.
const OUT_OF_MEMORY: &str = "out of memory";
const TOO_DEEP: &str = "Maximum call stack size exceeded";

const NO_DEFAULT_EXPORT: &str =
    "there is no default export; write `export default defineConfig({ … })`";

fn threw(message: &str) -> Failure {
    Failure::Threw { message: message.into(), place: None }
}

/// The first line of a stack that lies in the configuration, as its author wrote it.
fn place(stack: &str, program: &Program) -> Option<(String, Place)> {
    stack.lines().find_map(|line| {
        let at = line.rsplit_once('(').map_or(line.trim().trim_start_matches("at "), |(_, at)| at);
        let mut parts = at.trim_end_matches(')').rsplitn(3, ':');
        let column = parts.next()?.parse().ok()?;
        let line = parts.next()?.parse().ok()?;
        let file = parts.next()?;
        let original = program.original(file, Place { line, column })?;
        Some((file.to_owned(), original))
    })
}

/// A value by its kind alone: what is in it may be anybody's data.
fn described(value: &Value) -> String {
    if value.is_undefined() {
        "undefined".into()
    } else if value.is_null() {
        "null".into()
    } else {
        format!("a value of type {}", value.type_name())
    }
}

/// Until when the running code may run.
#[derive(Default)]
struct Watch {
    deadline: Cell<Option<Instant>>,
}

impl Watch {
    fn start(&self, time: Duration) {
        self.deadline.set(Some(Instant::now() + time));
    }

    fn is_over(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// The program's modules for the engine's `import`.
struct Modules(Arc<Program>);

impl Resolver for Modules {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        let found = self.0.resolve(base, name).map(str::to_owned);
        found.ok_or_else(|| rquickjs::Error::new_resolving(base, name))
    }
}

impl Loader for Modules {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        let code = self.0.code(name).ok_or_else(|| rquickjs::Error::new_loading(name))?;
        Module::declare(ctx.clone(), name, code)
    }
}

impl From<rquickjs::Error> for Fault {
    fn from(error: rquickjs::Error) -> Self {
        Self::Js(error)
    }
}

#[cfg(test)]
mod tests;
