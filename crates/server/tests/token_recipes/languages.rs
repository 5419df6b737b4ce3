//! The languages of the recipes: how each is run, and the recipe that ran last.
//!
//! Refuses to know what a token is. A driver is a second file beside the recipe, which prints the token
//! of its four arguments: secret, user, role, time.

/// Whether a machine that runs the tests has to have a language.
#[derive(Clone, Copy)]
pub enum Presence {
    Required,
    /// Where it is missing, the recipe has to be the one that has run and whose tokens the server accepted:
    /// the one with this SHA-256. The recipes of .NET and Elixir ran with Mono 6.8 and Elixir 1.14. These
    /// have no JSON of their own, so a stand-in wrote it.
    Optional {
        last_ran: &'static str,
    },
}

/// A language, and how its recipe is run in a folder of its own.
pub struct Language {
    /// The heading of the recipe.
    pub name: &'static str,
    pub presence: Presence,
    /// A command that succeeds if the recipe can run on this machine.
    pub probe: &'static [&'static str],
    /// The name of the file that the recipe becomes.
    pub file: &'static str,
    /// Further files: their names and what they hold.
    pub drivers: &'static [(&'static str, &'static str)],
    /// What is run before, if anything.
    pub build: &'static [&'static str],
    /// What prints the token; the four arguments are added.
    pub run: &'static [&'static str],
}

pub const LANGUAGES: [Language; 8] = [NODE, PYTHON, GO, PHP, RUBY, JAVA, DOTNET, ELIXIR];

const NODE: Language = Language {
    name: "Node",
    presence: Presence::Required,
    probe: &["node", "--version"],
    file: "token.mjs",
    drivers: &[(
        "main.mjs",
        r#"import { herenowToken } from "./token.mjs";
const [secret, user, role, now] = process.argv.slice(2);
console.log(herenowToken(secret, user, role, Number(now)));
"#,
    )],
    build: &[],
    run: &["node", "main.mjs"],
};

const PYTHON: Language = Language {
    name: "Python",
    presence: Presence::Required,
    probe: &["python3", "--version"],
    file: "token_recipe.py",
    drivers: &[(
        "main.py",
        r#"import sys
from token_recipe import herenow_token
secret, user, role, now = sys.argv[1:]
print(herenow_token(secret, user, role, int(now)))
"#,
    )],
    build: &[],
    run: &["python3", "main.py"],
};

const GO: Language = Language {
    name: "Go",
    presence: Presence::Optional {
        last_ran: "d774ff939caec45d5c9c4ce35066e15aac5c0bd871d8a2458aeebb71cbea74fc",
    },
    probe: &["go", "version"],
    file: "token.go",
    drivers: &[(
        "main.go",
        r#"package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	now, err := strconv.ParseInt(os.Args[4], 10, 64)
	if err != nil {
		panic(err)
	}
	token, err := HerenowToken(os.Args[1], os.Args[2], os.Args[3], now)
	if err != nil {
		panic(err)
	}
	fmt.Println(token)
}
"#,
    )],
    build: &["go", "build", "-o", "recipe", "token.go", "main.go"],
    run: &["./recipe"],
};

const PHP: Language = Language {
    name: "PHP",
    presence: Presence::Optional {
        last_ran: "e06257e605fccbc2550a4dcfed87253331d17dfb3d2847f5c0cdbb3ca10279fb",
    },
    probe: &["php", "--version"],
    file: "token.php",
    drivers: &[(
        "main.php",
        r#"<?php
require "token.php";
echo herenow_token($argv[1], $argv[2], $argv[3], (int) $argv[4]), "\n";
"#,
    )],
    build: &[],
    run: &["php", "main.php"],
};

const RUBY: Language = Language {
    name: "Ruby",
    presence: Presence::Optional {
        last_ran: "ea69776661d9c9ad65ba2681ac6e4f2b96214b25452917f806d413b1a94d1b7f",
    },
    probe: &["ruby", "--version"],
    file: "token.rb",
    drivers: &[(
        "main.rb",
        r#"require "./token.rb"
secret, user, role, now = ARGV
puts herenow_token(secret, user, role, now.to_i)
"#,
    )],
    build: &[],
    run: &["ruby", "main.rb"],
};

const JAVA: Language = Language {
    name: "Java",
    presence: Presence::Optional {
        last_ran: "11fb6f522554f02d5b77018b09b9672b3696277a6b0a0711b9de31fca6b14bf0",
    },
    probe: &["javac", "-version"],
    file: "HerenowToken.java",
    drivers: &[(
        "Main.java",
        r#"final class Main {
    public static void main(String[] it) throws Exception {
        System.out.println(HerenowToken.sign(it[0], it[1], it[2], Long.parseLong(it[3])));
    }
}
"#,
    )],
    build: &["javac", "HerenowToken.java", "Main.java"],
    run: &["java", "Main"],
};

const DOTNET: Language = Language {
    name: ".NET",
    presence: Presence::Optional {
        last_ran: "2c0fb7604d1950a7270573b5e00b5f124f4896f9356d7cb12a95874a2f0afabe",
    },
    probe: &["dotnet", "--version"],
    file: "HerenowToken.cs",
    drivers: &[
        (
            "Program.cs",
            r#"static class Program
{
    static void Main(string[] it)
    {
        System.Console.WriteLine(HerenowToken.Sign(it[0], it[1], it[2], long.Parse(it[3])));
    }
}
"#,
        ),
        (
            "recipe.csproj",
            r#"<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup>
    <OutputType>Exe</OutputType>
    <TargetFramework>net$(BundledNETCoreAppTargetFrameworkVersion)</TargetFramework>
  </PropertyGroup>
</Project>
"#,
        ),
    ],
    build: &["dotnet", "build", "--output", "out"],
    run: &["dotnet", "out/recipe.dll"],
};

const ELIXIR: Language = Language {
    name: "Elixir",
    presence: Presence::Optional {
        last_ran: "8433b3ab11feb6e50c5d3608d3962b6cf1a27d16bfe599f58985a50c97ca84de",
    },
    probe: &["elixir", "-e", "JSON.encode!(%{})"],
    file: "token.ex",
    drivers: &[(
        "main.exs",
        r#"Code.require_file("token.ex")
[secret, user, role, now] = System.argv()
IO.puts(HerenowToken.sign(secret, user, role, String.to_integer(now)))
"#,
    )],
    build: &[],
    run: &["elixir", "main.exs"],
};
