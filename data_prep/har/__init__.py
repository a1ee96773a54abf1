"""Public datasets of people, animals and vehicles, each read from its official raw files."""

from data_prep.har import (
    capture24,
    classyglass,
    daphnet,
    dsads,
    goat,
    hhar,
    motionsense,
    opportunity,
    pamap2,
    pvs,
    realworld,
    sisfall,
    uci_har,
    usc_had,
    utd_mhad,
    wisdm,
    wisdm_v1,
)

SOURCES = {
    module.SOURCE.name: module.SOURCE
    for module in (
        capture24,
        classyglass,
        daphnet,
        dsads,
        goat,
        hhar,
        motionsense,
        opportunity,
        pamap2,
        pvs,
        realworld,
        sisfall,
        uci_har,
        usc_had,
        utd_mhad,
        wisdm,
        wisdm_v1,
    )
}
