"""Scripts for R and Stata that make the main tables from the published results, without this program.

They compute what the report computes by other means, so that two programs have to agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from discernus.experiments.framework import Framework
from discernus.reports.columnar import stata_names
from discernus.reports.groups import variables_of

_R = """\
# The main tables of a session, from its results.csv: R alone, no packages.
#   Rscript main_tables.R results.csv
# A document counts once, with its mean over runs; what is missing is left out.

variables <- c(@VARIABLES@)

file <- c(commandArgs(trailingOnly = TRUE), "results.csv")[1]
results <- read.csv(file, colClasses = "character", na.strings = "",
                    check.names = FALSE, encoding = "UTF-8", strip.white = FALSE)

# Whose reading an analysis is: the model asked, unless another stood in for it.
reader <- ifelse(is.na(results$model_asked), results$model_requested, results$model_asked)
other <- !is.na(results$substituted) & results$substituted == "true" & !is.na(results$model_answered)
reader[other] <- results$model_answered[other]

group <- data.frame(model = reader, requested = results$model_requested, variant = results$variant)
groups <- unique(group)

describe <- function(at, variable) {
  own <- group$model == groups$model[at] & group$requested == groups$requested[at] &
    group$variant == groups$variant[at]
  value <- as.numeric(results[[variable]])
  used <- own & !is.na(value)
  means <- as.vector(tapply(value[used], results$document[used], mean))
  none <- length(means) == 0
  data.frame(groups[at, ], variable = variable, documents = length(means), scores = sum(used),
             mean = if (none) NA else mean(means), sd = if (length(means) < 2) NA else sd(means),
             min = if (none) NA else min(means), max = if (none) NA else max(means), row.names = NULL)
}

tables <- do.call(rbind, lapply(seq_len(nrow(groups)), function(at)
  do.call(rbind, lapply(variables, function(variable) describe(at, variable)))))
write.csv(tables, stdout(), row.names = FALSE, na = "")
"""

_STATA = """\
* The main tables of a session, from its results as a Stata file (results.dta).
* A document counts once, with its mean over runs; what is missing is left out, and what has no value has no row.
version 14
use "results.dta", clear

* Whose reading an analysis is: the model asked, unless another stood in for it.
generate reader__ = cond(model_asked == "", model_requested, model_asked)
replace reader__ = model_answered if substituted == 1 & model_answered != ""

tempfile all tables
save "`all'"
local first 1
foreach variable in @VARIABLES@ {
    use "`all'", clear
    keep if !missing(`variable')
    if _N == 0 {
        continue
    }
    rename `variable' value__
    collapse (mean) value__ (count) scores__ = value__, by(reader__ model_requested variant document)
    collapse (count) documents = value__ (sum) scores = scores__ (mean) mean = value__ ///
        (sd) sd = value__ (min) min = value__ (max) max = value__, by(reader__ model_requested variant)
    generate variable = "`variable'"
    if `first' == 0 {
        append using "`tables'"
    }
    save "`tables'", replace
    local first 0
}
if `first' == 1 {
    display as error "no variable has a value"
    exit 459
}
use "`tables'", clear
sort reader__ model_requested variant variable
list reader__ model_requested variant variable documents scores mean sd min max, noobs abbreviate(32)
"""


def r_script(framework: Framework) -> str:
    """Return an R script that reads results.csv and writes the main tables as CSV."""
    return _R.replace("@VARIABLES@", ", ".join(map(json.dumps, _columns(framework))))


def stata_script(framework: Framework, columns: Sequence[str]) -> str:
    """Return a Stata do-file that reads results.dta, whose names come from ``columns``, those of results.csv."""
    names = stata_names(columns)
    return _STATA.replace("@VARIABLES@", " ".join(names[column] for column in _columns(framework)))


def _columns(framework: Framework) -> list[str]:
    dimensions, metrics = variables_of(framework)
    return [*(f"{name}_score" for name in dimensions), *metrics]
