//! The words of nft's language, read one at a time.

use std::io;
use std::io::Read;

/// The most bytes kept of a word or a quoted text.
const WORD_MAX: usize = 1024;

/// A piece of nft's language. The text of words is in [`Tokens::text`].
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Token {
    Word,
    Quoted,
    Open,
    Close,
    Comma,
    /// Semicolon.
    Semi,
    Newline,
    End,
}

/// Reads tokens; comments and lines that go on are dealt with.
pub(crate) struct Tokens<R> {
    input: R,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    /// The byte after what was read last, if it was looked at.
    peeked: Option<u8>,
    /// Of the last word or quoted text.
    pub(crate) text: Vec<u8>,
    /// Lines that ended.
    pub(crate) newlines: u64,
    /// Something stands after the last of them.
    in_line: bool,
}

impl<R: Read> Tokens<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; 64 << 10].into(),
            at: 0,
            filled: 0,
            peeked: None,
            text: Vec::new(),
            newlines: 0,
            in_line: false,
        }
    }

    /// How many lines were read.
    pub(crate) fn lines(&self) -> u64 {
        self.newlines + u64::from(self.in_line)
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        if let Some(byte) = self.peeked.take() {
            return Ok(Some(byte));
        }
        while self.at == self.filled {
            match self.input.read(&mut self.buffer) {
                Ok(0) => return Ok(None),
                Ok(filled) => (self.at, self.filled) = (0, filled),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let byte = self.buffer[self.at];
        self.at += 1;
        if byte == b'\n' {
            self.newlines += 1;
            self.in_line = false;
        } else {
            self.in_line = true;
        }
        Ok(Some(byte))
    }

    pub(crate) fn next(&mut self) -> io::Result<Token> {
        loop {
            let Some(byte) = self.byte()? else {
                return Ok(Token::End);
            };
            return Ok(match byte {
                b'\n' => Token::Newline,
                b'{' => Token::Open,
                b'}' => Token::Close,
                b',' => Token::Comma,
                b';' => Token::Semi,
                b'#' => {
                    self.until(|byte| byte == b'\n', false)?;
                    continue;
                }
                b'"' => {
                    self.text.clear();
                    self.until(|byte| byte == b'"' || byte == b'\n', true)?;
                    if self.peeked == Some(b'"') {
                        self.peeked = None;
                    }
                    Token::Quoted
                }
                b'\\' => {
                    // The line goes on in the next one.
                    match self.byte()? {
                        Some(b'\n') | None => {}
                        other => self.peeked = other,
                    }
                    continue;
                }
                byte if byte.is_ascii_whitespace() => continue,
                byte => {
                    self.text.clear();
                    self.text.push(byte);
                    let ends =
                        |byte: u8| byte.is_ascii_whitespace() || b"{},;#\"\\".contains(&byte);
                    self.until(ends, true)?;
                    Token::Word
                }
            });
        }
    }

    /// Reads up to a byte, which is read again, or to the end.
    fn until(&mut self, ends: impl Fn(u8) -> bool, keep: bool) -> io::Result<()> {
        while let Some(byte) = self.byte()? {
            if ends(byte) {
                self.peeked = Some(byte);
                break;
            }
            if keep && self.text.len() < WORD_MAX {
                self.text.push(byte);
            }
        }
        Ok(())
    }
}
