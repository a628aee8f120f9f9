"""Jobs on Spark's workers: the same results as here."""

import math
import os
import shutil
import sys

import pytest

from geomarket.planning import JobOptions, run_jobs
from geomarket.planning.jobs import Failure

pytestmark = pytest.mark.spark


def test_jobs_on_spark_give_what_they_give_here():
    if shutil.which("java") is None:
        pytest.skip("JAVA MISSING: install Java 17 to run the Spark tests")
    pytest.importorskip("joblibspark", reason="JOBLIBSPARK MISSING: pip install geomarket[spark]")
    sql = pytest.importorskip("pyspark.sql", reason="PYSPARK MISSING: pip install geomarket[spark]")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    items, names = [16.0, 9.0, -1.0], ["a", "b", "c"]
    found = run_jobs(math.sqrt, items, names, JobOptions(jobs=2, backend="spark"))
    assert found == run_jobs(math.sqrt, items, names)
    assert found[:2] == [4.0, 3.0]
    assert isinstance(found[2], Failure)
