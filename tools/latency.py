"""Time a backbone with ONNX Runtime, one image at a time: ``python tools/latency.py RUN``."""

import argparse

from hgkd_mm.latency.measure import find_source, measure_latency
from hgkd_mm.utils import cli_errors


@cli_errors
def main() -> None:
    """Parse arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('path', help='work dir of a fine-tuning with result.json, or a backbone or checkpoint file')
    parser.add_argument('--resolution', type=int, help="side of the images in pixels (default: the run's own)")
    parser.add_argument('--threads', type=int, nargs='+', default=[1], help='thread counts to time (default: 1)')
    parser.add_argument('--runs', type=int, default=100, help='counted calls (default: %(default)s)')
    parser.add_argument('--device', help="name of this device in the record (default: the processor's)")
    parser.add_argument('--out', help='latency.json to write or to add this device to (default: beside the weights)')
    args = parser.parse_args()
    source = find_source(args.path, args.resolution, args.out)
    latency = measure_latency(source, args.threads, args.runs, args.device)
    print(f'{source.out}: {latency.backbone}, {latency.resolution} px, PyTorch agrees to {latency.max_difference:.1g}')
    for timing in latency.timings:
        print(
            f'  {timing.device}, {timing.threads} thread{"s" * (timing.threads > 1)}: '
            f'median {timing.median_ms:.2f} ms, p90 {timing.p90_ms:.2f} ms'
        )


if __name__ == '__main__':
    main()
