"""Public human activity recognition datasets, each read from its official raw files."""

from data_prep.har import (
    capture24,
    classyglass,
    dsads,
    hhar,
    motionsense,
    opportunity,
    pamap2,
    realworld,
    sisfall,
    uci_har,
    usc_had,
    utd_mhad,
    wisdm,
)

SOURCES = {
    module.SOURCE.name: module.SOURCE
    for module in (
        capture24,
        classyglass,
        dsads,
        hhar,
        motionsense,
        opportunity,
        pamap2,
        realworld,
        sisfall,
        uci_har,
        usc_had,
        utd_mhad,
        wisdm,
    )
}
