"""Result records, and the leaderboard built from them and nothing else."""
