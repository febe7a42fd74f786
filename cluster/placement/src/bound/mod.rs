//! How many applications could be hosted at most, whoever decides.
//!
//! [`exact`] is the most that any policy can host on whole nodes under a judge's verdicts, for small instances: it
//! judges every set of applications on every kind of node. [`relaxed`] is above what can be hosted even in parts, for
//! instances of any size: it knows the devices' time alone.

pub mod exact;
pub mod relaxed;

/// No bound.
#[derive(Debug, thiserror::Error)]
pub enum BoundError {
    /// Too many applications.
    #[error("{0} applications: the exact bound judges every set of them, so at most {max}", max = exact::APPS_MAX)]
    TooMany(usize),
    /// The solver.
    #[error("the solver has given up: {0}")]
    Solver(String),
}

/// Solves, and rounds what it says of an integer's size.
fn solve(problem: &microlp::Problem) -> Result<f64, BoundError> {
    let outcome = problem.solve().map_err(|error| BoundError::Solver(error.to_string()))?;
    let solution =
        outcome.into_solution().map_err(|_| BoundError::Solver("no solution in time".to_owned()))?;
    Ok(solution.objective())
}
