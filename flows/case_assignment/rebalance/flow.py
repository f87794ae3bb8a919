"""The Prefect flow rebalance: one look at all open reads, named by the id of the laboratory's step."""

from prefect import flow

from flows.engine import current_shift


@flow(name="rebalance", flow_run_name="{first}", persist_result=False)
def rebalance(first: str) -> int:  # noqa: ARG001 - the opaque id that Prefect shows
    """Run the shift that this process is about to run; return how many steps ended."""
    return current_shift()
