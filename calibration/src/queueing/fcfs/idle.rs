//! P(W = 0, J = h): the constants that make the waiting time's transform finite.

use super::Class;
use super::groups::Group;
use crate::queueing::root::bisect;

/// Finds v_h of every group.
pub(super) fn find(classes: &[Class<'_>], groups: &[Group], rate: f64, utilisation: f64) -> Vec<f64> {
    let n = groups.len();
    let at = |h: usize, s: f64| groups[h].at(classes, rate, -s);
    // Zeros of D_h, in order.
    let mut zeros: Vec<(f64, usize)> = (0..n).map(|h| (bisect(0.0, rate, |s| at(h, s).0 > 0.0), h)).collect();
    zeros.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for pair in zeros.windows(2) {
        let ((left, a), (right, b)) = (pair[0], pair[1]);
        let mut row = vec![0.0; n + 1];
        if right - left <= 1e-9 * rate {
            // The two fall together, and with them the point between: their parts are as their q.
            (row[a], row[b]) = (at(b, left).1, -at(a, left).1);
        } else {
            let below = |s: f64| {
                let terms = (0..n).map(|h| at(h, s));
                terms.map(|(d, q)| rate * q / d).sum::<f64>() < 1.0
            };
            let root = bisect(left, right, below);
            for (h, cell) in row[..n].iter_mut().enumerate() {
                *cell = 1.0 / at(h, root).0;
            }
        }
        let largest = row.iter().fold(0.0_f64, |most, cell| most.max(cell.abs()));
        row.iter_mut().for_each(|cell| *cell /= largest);
        rows.push(row);
    }
    let mut total = vec![1.0; n + 1];
    total[n] = 1.0 - utilisation;
    rows.push(total);
    solve(rows)
}

/// Solves n equations, each a row of n coefficients and the right-hand side, by elimination with pivots.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, pivot.unwrap_or(column));
        let (done, below) = rows.split_at_mut(column + 1);
        let top = &done[column];
        for row in below {
            let factor = row[column] / top[column];
            if factor != 0.0 {
                for (cell, above) in row[column..].iter_mut().zip(&top[column..]) {
                    *cell -= factor * above;
                }
            }
        }
    }
    let mut solution = vec![0.0; n];
    for at in (0..n).rev() {
        let known: f64 = (at + 1..n).map(|j| rows[at][j] * solution[j]).sum();
        solution[at] = (rows[at][n] - known) / rows[at][at];
    }
    solution
}
