use proptest::prelude::*;

use super::*;

fn text(text: &str, weight: f64) -> Part {
    Part::Text(text.into(), weight)
}

fn near(got: &[Part], want: &[Part]) -> bool {
    got.len() == want.len()
        && got.iter().zip(want).all(|pair| match pair {
            (Part::Text(a, x), Part::Text(b, y)) => a == b && (x - y).abs() < 1e-9,
            (a, b) => a == b,
        })
}

/// The examples that the web UI's own documentation has for its grammar, with the weights that it gives there.
#[test]
fn the_published_examples_read_as_published() {
    for (prompt, want) in [
        ("normal text", vec![text("normal text", 1.0)]),
        ("an (important) word", vec![text("an ", 1.0), text("important", 1.1), text(" word", 1.0)]),
        ("(unbalanced", vec![text("unbalanced", 1.1)]),
        (r"\(literal\]", vec![text("(literal]", 1.0)]),
        ("(unnecessary)(parens)", vec![text("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            vec![
                text("a ", 1.0),
                text("house", 1.573),
                text(" ", 1.1),
                text("on", 1.0),
                text(" a ", 1.1),
                text("hill", 0.55),
                text(", sun, ", 1.1),
                text("sky", 1.4641),
                text(".", 1.1),
            ],
        ),
    ] {
        let got = parse(prompt).expect("a prompt");
        assert!(near(&got, &want), "{prompt}: {got:?}");
    }
}

#[test]
fn the_rest_of_the_grammar() {
    for (prompt, want) in [
        ("", vec![text("", 1.0)]),
        ("()", vec![text("", 1.0)]),
        ("a)b]", vec![text("a)b]", 1.0)]),
        ("a:1.2)", vec![text("a:1.2)", 1.0)]),
        ("(a:1.2", vec![text("a:1.2", 1.1)]),
        ("(a: 1.5 )b", vec![text("a", 1.5), text("b", 1.0)]),
        ("(a:-.5)", vec![text("a", -0.5)]),
        ("(a:+2)", vec![text("a", 2.0)]),
        ("(a:1.2.3)", vec![text("a:1.2.3", 1.1)]),
        ("(a:b)", vec![text("a:b", 1.1)]),
        ("[a:b]", vec![text("a:b", 1.0 / 1.1)]),
        (r"a\b \\ \:", vec![text(r"ab \ :", 1.0)]),
        ("(a:1)b", vec![text("ab", 1.0)]),
        ("[[a]]", vec![text("a", 1.0 / 1.21)]),
        ("(a [b) c]", vec![text("a ", 1.1), text("b", 1.0), text(" c", 1.0 / 1.1)]),
        ("a BREAK b", vec![text("a", 1.0), Part::Break, text("b", 1.0)]),
        ("a,BREAK\nb", vec![text("a,", 1.0), Part::Break, text("b", 1.0)]),
        ("BREAKS aBREAK break", vec![text("BREAKS aBREAK break", 1.0)]),
        ("(a BREAK b)", vec![text("a", 1.1), Part::Break, text("b", 1.1)]),
        ("BREAK", vec![text("", 1.0), Part::Break, text("", 1.0)]),
        ("(猫:1.5)と犬", vec![text("猫", 1.5), text("と犬", 1.0)]),
        ("<cat-toy> a<b:c>", vec![text("<cat-toy> a<b:c>", 1.0)]),
        ("(a|b) c|d", vec![text("a|b", 1.1), text(" c|d", 1.0)]),
        (r"\[a|b\] \[a:b:0.5\]", vec![text("[a|b] [a:b:0.5]", 1.0)]),
        ("[(a:1.2) b]", vec![text("a", 1.2 / 1.1), text(" b", 1.0 / 1.1)]),
        ("BRAND ANDY and", vec![text("BRAND ANDY and", 1.0)]),
    ] {
        let got = parse(prompt).expect("a prompt");
        assert!(near(&got, &want), "{prompt}: {got:?}");
    }
}

#[test]
fn what_is_not_weights_is_refused_by_name() {
    for (prompt, name) in [
        ("a [cat:dog:0.5] b", "[cat:dog:0.5]"),
        ("a [dog:10]", "[dog:10]"),
        ("[(a:1.3):b: .5 ]", "[(a:1.3):b: .5 ]"),
        ("a [cat|dog] b", "[cat|dog]"),
        ("[a|]", "[a|]"),
        ("[(x) a|b|c]", "[(x) a|b|c]"),
        ("a cat AND a dog", "AND"),
        ("AND", "AND"),
        ("a <lora:pixel-art:0.8> cat", "<lora:pixel-art:0.8>"),
        ("<lyco:x>", "<lyco:x>"),
        ("<hypernet:x:1>", "<hypernet:x:1>"),
        (&"(a".repeat(8000), "weight"),
        ("(a:99999999999999999999999999999999999999999999)", "weight"),
        (&"a".repeat(MOST_BYTES + 1), "65537"),
    ] {
        let error = parse(prompt).expect_err(&prompt[..prompt.len().min(40)]).to_string();
        assert!(error.contains(name), "{error}");
    }
    let error = parse("<lora:a:0.8>").expect_err("a tag").to_string();
    assert!(error.contains("--lora") && error.contains("PipelineBuilder::lora"), "{error}");
}

/// All text, without the weights.
fn plain(parts: &[Part]) -> String {
    let texts = parts.iter().map(|part| match part {
        Part::Text(text, _) => text.as_str(),
        Part::Break => " BREAK ",
    });
    texts.collect()
}

proptest! {
    /// Whatever is typed is read or refused, and takes its time.
    #[test]
    fn nothing_panics(prompt in any::<String>()) {
        let _ = parse(&prompt);
    }

    /// The same with the characters that mean something.
    #[test]
    fn no_syntax_panics(prompt in r"[\\()\[\]:|.<> +\-0-9abKé猫]{0,60}") {
        let _ = parse(&prompt);
    }

    /// Text without a character that means something is one piece of weight 1.
    #[test]
    fn plain_text_is_itself(prompt in r"[^\\()\[\]A<]{0,60}") {
        let got = parse(&prompt).expect("no syntax");
        prop_assert_eq!(plain(&got), prompt);
        prop_assert_eq!(got.len(), 1);
    }

    /// Any text can be said: each of the characters that mean something after a backslash.
    #[test]
    fn escaped_text_is_itself(prompt in r"[\\()\[\]:|.0-9a-z é猫]{0,60}") {
        let mut escaped = String::new();
        for c in prompt.chars() {
            if r"\()[]".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        let got = parse(&escaped).expect("no syntax");
        prop_assert_eq!(got, vec![text(&prompt, 1.0)]);
    }

    /// Letters are never lost, whatever brackets are around them, and never change places.
    #[test]
    fn letters_survive(prompt in r"[\\()\[\]:.0-9a-zé猫 ]{0,60}") {
        let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        if let Ok(got) = parse(&prompt) {
            prop_assert_eq!(letters(&plain(&got)), letters(&prompt));
        }
    }

    /// A weight on all of it is that weight, and brackets multiply.
    #[test]
    fn nested_weights_multiply(prompt in "[a-z ]{1,20}", x in -3.0..3.0f64, y in -3.0..3.0f64) {
        let (x, y) = (format!("{x:.3}"), format!("{y:.3}"));
        let product = x.parse::<f64>().unwrap() * y.parse::<f64>().unwrap();
        let got = parse(&format!("(({prompt}:{x}):{y})")).expect("a prompt");
        prop_assert!(near(&got, &[text(&prompt, product)]), "{:?}", got);
    }
}
