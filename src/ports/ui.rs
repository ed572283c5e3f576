//! Questions to whoever sits at the terminal, and their answers, as data.

/// One of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// What is asked, in one line.
    pub question: String,
    /// What may be answered, a line each; at least one.
    pub options: Vec<String>,
    /// Which of them Enter takes.
    pub default: usize,
}

/// Yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// What is asked, in one line.
    pub question: String,
    /// What Enter says.
    pub default: bool,
}

/// A word, such as a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// What is asked, in one line.
    pub question: String,
    /// What Enter alone says; nothing where there is none.
    pub suggestion: Option<String>,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// An answer.
    Given(T),
    /// None: Ctrl-C, Esc, or nobody is there any more.
    Cancelled,
}

impl<T> Answer<T> {
    /// Another answer made from it.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Given(answer) => Answer::Given(with(answer)),
            Self::Cancelled => Answer::Cancelled,
        }
    }
}

/// A question that could not be put, or a text that could not be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the question could not be put: {0}")]
pub struct UiError(pub String);

/// Somebody who can be asked, perhaps. Questions wait for as long as it takes, so inside asynchronous work that has to go on
/// they are put from a thread of their own.
pub trait Ui: Send + Sync {
    /// Whether somebody is there.
    fn is_interactive(&self) -> bool;

    /// Shows what a question is about; ends with a line break by itself.
    ///
    /// # Errors
    /// [`UiError`].
    fn show(&self, text: &str) -> Result<(), UiError>;

    /// Asks for one of several; the answer is its number, from 0.
    ///
    /// # Errors
    /// [`UiError`].
    fn select(&self, question: &Select) -> Result<Answer<usize>, UiError>;

    /// Asks for yes or no.
    ///
    /// # Errors
    /// [`UiError`].
    fn confirm(&self, question: &Confirm) -> Result<Answer<bool>, UiError>;

    /// Asks for a word.
    ///
    /// # Errors
    /// [`UiError`].
    fn typed(&self, question: &Typed) -> Result<Answer<String>, UiError>;
}
