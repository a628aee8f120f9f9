"""Run a whole plan: stages in order, outputs, manifest."""

from geomarket.planning.audit import FolderAudit, audit_folder
from geomarket.planning.campaigns import campaign_files
from geomarket.planning.catchment_details import CatchmentDetails
from geomarket.planning.checkpoints import Checkpoints, default_folder
from geomarket.planning.demo import DEMO_SETTINGS, demo_plan
from geomarket.planning.diff import RunDiff, diff_runs
from geomarket.planning.diff_text import diff_text, write_diff
from geomarket.planning.fairness import Fairness
from geomarket.planning.folders import claim_folder, hold_folder
from geomarket.planning.jobs import Failure, JobOptions, run_jobs
from geomarket.planning.keeping import Keeper
from geomarket.planning.measurement import PlannedTest
from geomarket.planning.measuring import PlanMeasurement, measure_plan, write_measurement
from geomarket.planning.outputs import plan_tables, write_outputs
from geomarket.planning.overrides import Overrides, overrides_line, read_overrides, write_overrides
from geomarket.planning.plan import Plan
from geomarket.planning.rehearsal import Rehearsal
from geomarket.planning.run import STAGES, run_plan
from geomarket.planning.targeting import Targeting
from geomarket.planning.whatifs import WhatIfs

__all__ = [
    "DEMO_SETTINGS",
    "STAGES",
    "CatchmentDetails",
    "Checkpoints",
    "Failure",
    "Fairness",
    "FolderAudit",
    "JobOptions",
    "Keeper",
    "Overrides",
    "Plan",
    "PlanMeasurement",
    "PlannedTest",
    "Rehearsal",
    "RunDiff",
    "Targeting",
    "WhatIfs",
    "audit_folder",
    "campaign_files",
    "claim_folder",
    "default_folder",
    "demo_plan",
    "diff_runs",
    "diff_text",
    "hold_folder",
    "measure_plan",
    "overrides_line",
    "plan_tables",
    "read_overrides",
    "run_jobs",
    "run_plan",
    "write_diff",
    "write_measurement",
    "write_outputs",
    "write_overrides",
]
